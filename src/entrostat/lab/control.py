"""A method as the fast engine runs it: a strategy with its state, and beside it an objective with its own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from entrostat.clip import ClipBounds
from entrostat.engines.fast import Rollout, of_run
from entrostat.lab.methods import label
from entrostat.objectives import Objective
from entrostat.objectives.clipped import OnClipped
from entrostat.strategies import RolloutSummary, Strategy
from entrostat.strategies.static import Grpo


@dataclasses.dataclass
class Control:
    """What decides on a run's bounds and on its additional term, and remembers."""

    strategy: Strategy
    objective: Objective | None = None

    def __post_init__(self):
        self.state: Any = self.strategy.init()
        self.term: Any = None if self.objective is None else self.objective.init()

    def observe(self, summary: RolloutSummary) -> None:
        """Once a rollout, before its updates."""
        self.state = self.strategy.observe(self.state, summary)
        if self.objective is not None:
            self.term = self.objective.observe(self.term, summary)

    @property
    def pair(self) -> tuple[Objective, Any] | None:
        """The objective and its state, as `fast.update` takes them."""
        return None if self.objective is None else (self.objective, self.term)

    def signals(self) -> dict[str, float]:
        """What is worth logging of both."""
        found = self.strategy.signals(self.state)
        return (
            found
            if self.objective is None
            else found | self.objective.signals(self.term)
        )


def control(method: Any) -> Control:
    """Of a strategy, or of an objective on the window that it names, or on GRPO's of .2 and .2.

    ValueError for anything else: only TRL's trainer has the losses of trl: methods.
    """
    if isinstance(method, Strategy):
        return Control(method)
    if isinstance(method, OnClipped):
        return Control(Grpo(low=method.low, high=method.high), method)
    if isinstance(method, Objective):
        return Control(Grpo(), method)
    raise ValueError(
        f"only TRL's trainer has the loss of {label(method)}: the fast engine runs strategies and objectives"
    )


def bounds_of(controls: Sequence[Control], rollout: Rollout) -> ClipBounds:
    """Every run's bounds for its own tokens, (n b t)."""
    found = [
        each.strategy.bounds(each.state, of_run(rollout.old, run))
        for run, each in enumerate(controls)
    ]
    low, high = (torch.stack(side) for side in zip(*found, strict=True))
    return ClipBounds(low, high)
