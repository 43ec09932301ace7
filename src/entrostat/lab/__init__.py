"""The lab: procedural tasks with exact verifiers and tiny base models, so that an experiment on entropy takes minutes.

Needs the `train` extra (`pip install "entrostat[train]"`), except for `entrostat.lab.tasks`, which is plain Python.
"""

import os

# Before huggingface_hub is imported, which reads it then. A run on a laptop is its user's own business.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
