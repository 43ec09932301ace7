"""STARE (arXiv 2606.19236): while entropy is under a target, the most surprising tokens of
good answers weigh more.

    A > 0 and surprisal in the top tenth:   weight 1.1        while H < target

Second-hand: the numbers are those that the paper is quoted with. Ours, where it leaves
room: the surprisal is that under the policy that sampled, the tenth is of the trained
tokens of a micro-batch, and the gate opens and closes once per rollout.
"""

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.weighted import Weighted
from entrostat.schedule import parse_schedule
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    check_target,
    checked,
    measured_entropy,
    not_negative,
)


class StareState(NamedTuple):
    """What the gate remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    target: float = 0.0
    """Nats, of the rollout in progress; 0 before the first."""
    open: int = 0
    """1 while entropy is under the target."""


@dataclasses.dataclass(frozen=True)
class Stare(Weighted):
    """STARE: the most surprising tokens of good answers weigh more while entropy is
    low."""

    target: str | float = 0.3
    """Entropy under which the weight acts, nats per token, or a schedule."""
    weight: float = 1.1
    """Of the tokens chosen."""
    share: float = 0.1
    """Share of the tokens, the most surprising ones, that are looked at."""

    def __post_init__(self):
        super().__post_init__()
        check_target("target", self.target)
        not_negative(self, "weight", most=1e3)
        checked("share", self.share, low=1e-6, high=1.0, why="in (0, 1]")

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    def init(self) -> StareState:
        return StareState()

    def observe(self, state: StareState, summary: RolloutSummary) -> StareState:
        """Opens or closes the gate. With an entropy of NaN it stays."""
        entropy = measured_entropy(self, summary)
        target = parse_schedule(self.target)(summary.progress, state.rollouts)
        is_open = state.open
        if math.isfinite(entropy):
            is_open = int(entropy < target)
        return StareState(state.rollouts + 1, target, is_open)

    def weights(self, state: StareState, inputs: LossInputs) -> Tensor:
        ones = torch.ones_like(inputs.logprobs.detach())
        if not state.open or not inputs.mask.any():
            return ones
        surprisal = -inputs.old.logprobs.detach().float()
        edge = surprisal[inputs.mask].quantile(1 - self.share)
        chosen = (surprisal >= edge) & (inputs.advantages.detach() > 0)
        return ones.masked_fill(chosen, self.weight)

    def signals(self, state: StareState) -> dict[str, float]:
        """target in nats; whether the weight acts."""
        if not state.rollouts:
            return {}
        return {"target": state.target, "open": float(state.open)}
