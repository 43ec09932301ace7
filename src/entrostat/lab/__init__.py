"""The lab: procedural tasks with exact verifiers and tiny base models, so that an experiment on entropy takes minutes.

Needs the `train` extra (`pip install "entrostat[train]"`), except for `entrostat.lab.tasks`, which is plain Python.
"""
