"""What `entrostat doctor` would say of runs of the lab, as warnings before they start."""

import sys
from collections.abc import Iterable
from pathlib import Path

from entrostat.doctor import Finding, Found, Source, findings, settings, warning
from entrostat.lab.config import TrainConfig, grpo_fields
from entrostat.lab.methods import Method, label, recipe
from entrostat.lab.run import Run
from entrostat.lab.train import read_run


def checkup(config: TrainConfig, method: Method) -> list[Found]:
    """What the doctor finds in the GRPOConfig that the run will have. Nothing under the lab's own defaults."""
    strategy, objective, overrides, _ = recipe(method)
    # the folder is read by no check
    fields = grpo_fields(config, Path(), overrides)
    found = findings(settings(Source(label(method), fields)), strategy)
    # an objective acts where the clip cannot
    return [
        one
        for one in found
        if objective is None or one.finding is not Finding.RATIO_ALWAYS_ONE
    ]


def warn(runs: Iterable[Run]) -> None:
    """A line on stderr for each finding, once."""
    lines: dict[str, None] = {}
    for config, method in map(read_run, runs):
        for found in checkup(config, method):
            lines[f"{label(method)}: {warning(found)}"] = None
    for line in lines:
        print(f"entrostat: warning: {line}", file=sys.stderr)
