"""What `entrostat doctor` would say of runs of the lab, as warnings before they start."""

import sys
from collections.abc import Iterable
from pathlib import Path

from entrostat.doctor import Finding, Found, Source, findings, settings, warning
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import Method, label, recipe
from entrostat.lab.run import Run
from entrostat.lab.train import read_run
from entrostat.lab.trl_config import grpo_fields


def checkup(config: TrainConfig, method: Method) -> list[Found]:
    """What the doctor finds in the GRPOConfig that the run will have. Nothing under the
    lab's own defaults."""
    parts = recipe(method)
    # the folder is read by no check
    fields = grpo_fields(config, Path(), parts.trl)
    ours = settings(Source(label(method), fields))
    everything = findings(ours, parts.strategy)
    # an objective acts where the clip cannot; a GRPOConfig has no word for staleness
    if parts.objective is None and config.staleness == 0:
        return everything
    return [one for one in everything if one.finding is not Finding.RATIO_ALWAYS_ONE]


def warn(runs: Iterable[Run]) -> None:
    """A line on stderr for each finding, once."""
    # a dict keeps the order and drops what repeats: runs that differ by their seed
    lines: dict[str, None] = {}
    for run in runs:
        config, method = read_run(run)
        for finding in checkup(config, method):
            lines[f"{label(method)}: {warning(finding)}"] = None
    for line in lines:
        print(f"entrostat: warning: {line}", file=sys.stderr)
