"""Entrocraft (arXiv 2604.26326, v2): while entropy is out of its band, responses of one
sign of advantage are dropped.

    H < band_low:    drop A > 0        H > band_high:   drop A < 0

The band is annealed over the run; the paper's best goes from (0.6, 0.7) to (0.1, 0.2).
Ours, where the paper leaves room: H is the rollout's mean token entropy, dropped
responses keep their share of the loss's denominator, and no others are drawn for them.
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
    measured_entropy,
)


class EntrocraftState(NamedTuple):
    """What the rule remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    target: float = 0.0
    """Nats: the middle of the band of the rollout in progress; 0 before the first."""
    dropped: int = 0
    """The sign of the advantages that are dropped, 0 for none."""


@dataclasses.dataclass(frozen=True)
class Entrocraft(Weighted):
    """Entrocraft: responses of one sign of advantage are dropped while entropy is out of
    its band."""

    band_low: str | float = "linear:0.6:0.1"
    """Nats per token, or a schedule: under it good responses are dropped."""
    band_high: str | float = "linear:0.7:0.2"
    """Nats per token, or a schedule: over it bad responses are dropped."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("band_low", "band_high"):
            check_target(name, getattr(self, name))
        for progress in (0.0, 0.5, 1.0):
            low, high = self._band(progress, 0)
            if low > high:
                raise ValueError(
                    f"band_low must not be over band_high, got {self.band_low} and "
                    f"{self.band_high}: at progress {progress:g} {low:g} is over "
                    f"{high:g}"
                )

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    def init(self) -> EntrocraftState:
        return EntrocraftState()

    def observe(
        self, state: EntrocraftState, summary: RolloutSummary
    ) -> EntrocraftState:
        """Chooses what is dropped. With an entropy of NaN that is nothing."""
        entropy = measured_entropy(self, summary)
        low, high = self._band(summary.progress, state.rollouts)
        dropped = 0
        if math.isfinite(entropy):
            dropped = int(entropy < low) - int(entropy > high)
        return EntrocraftState(state.rollouts + 1, (low + high) / 2, dropped)

    def _band(self, progress: float, rollouts: int) -> tuple[float, float]:
        low = parse_schedule(self.band_low)(progress, rollouts)
        high = parse_schedule(self.band_high)(progress, rollouts)
        return low, high

    def weights(self, state: EntrocraftState, inputs: LossInputs) -> Tensor:
        ones = torch.ones_like(inputs.logprobs.detach())
        dropped = inputs.advantages.detach() * state.dropped > 0
        return ones.masked_fill(dropped, 0.0)

    def signals(self, state: EntrocraftState) -> dict[str, float]:
        """target, the middle of the band, in nats; the sign that is dropped."""
        if not state.rollouts:
            return {}
        return {"target": state.target, "dropped_sign": float(state.dropped)}
