"""A method as the fast engine runs it: a controller with a strategy, and beside it an
objective or none."""

from collections.abc import Sequence
from typing import Any

import torch

from entrostat.clip import ClipBounds
from entrostat.engines.controller import Controller
from entrostat.engines.rollout import Rollout, of_run
from entrostat.lab.methods import label
from entrostat.objectives import Objective
from entrostat.objectives.clipped import OnClipped
from entrostat.strategies import Strategy
from entrostat.strategies.static import Grpo


def control(method: Any) -> Controller:
    """Of a strategy, or of an objective on the window that it names, or on GRPO's of 0.2
    and 0.2.

    ValueError for anything else: only TRL's trainer has the losses of trl: methods.
    """
    if isinstance(method, Strategy):
        return Controller(method)
    if isinstance(method, OnClipped):
        return Controller(Grpo(low=method.low, high=method.high), method)
    if isinstance(method, Objective):
        return Controller(Grpo(), method)
    raise ValueError(
        f"only TRL's trainer has the loss of {label(method)}: the fast engine runs "
        "strategies and objectives"
    )


def bounds_of(controllers: Sequence[Controller], rollout: Rollout) -> ClipBounds:
    """Every run's bounds for its own tokens, (n b t)."""
    lows = []
    highs = []
    for run, controller in enumerate(controllers):
        old = of_run(rollout.old, run)
        low, high = controller.bounds(old, rollout.mask[run])
        lows.append(low)
        highs.append(high)
    return ClipBounds(torch.stack(lows), torch.stack(highs))
