"""DCPO's bounds (arXiv 2509.02333): a window in the ratio whose width grows as the old
probability falls.

The paper bounds |r - 1| p, the change of the probability itself:
p_old r (r - 1) <= high above and >= -low below, with p = r p_old. Solved for r that is

    0.5 + 0.5 sqrt(max(1 - 4 low / p_old, 0)) <= r <= 0.5 + 0.5 sqrt(1 + 4 high / p_old)

As its authors released it (github.com/lime-RL/DCPO, core_algos.py, get_clip_low_high),
with the cap of 10 on the upper bound that is there, and low 0.16, high 0.2 of the
paper; the release's scripts run 0.2 and 0.28. Left out: the dual clip at 10 (A < 0),
the mean over each response's own tokens, and the advantages from the statistics of
former epochs.
"""

import dataclasses

import torch

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import (
    NoState,
    RolloutSummary,
    Strategy,
    checked,
    not_negative,
    probability,
)


@dataclasses.dataclass(frozen=True)
class Dcpo(Strategy):
    """DCPO's dynamic adaptive clipping: wide for unlikely tokens, tight for likely
    ones, on both sides."""

    low: float = 0.16
    """How far r (r - 1) p_old may fall under 0.
    The floor is 0.5 where p_old < 4 low."""
    high: float = 0.2
    """How far r (r - 1) p_old may rise over 0."""
    cap: float = 10.0
    """Largest upper bound of the ratio."""

    def __post_init__(self):
        not_negative(self, "low", "high", most=1e6)
        checked("cap", self.cap, low=1.0, why="at least 1, the ratio of a fresh token")

    @property
    def highest(self) -> float:
        return self.cap - 1

    @property
    def per_token(self) -> bool:
        return True

    def init(self) -> NoState:
        return NoState()

    def observe(self, state: NoState, summary: RolloutSummary) -> NoState:
        return state

    def bounds(self, state: NoState, old: TokenStats) -> ClipBounds:
        # an impossible token has the floor of 0.5 and the cap: a tiny p in place of 0
        # gives both, where 0 / 0 (low = 0) would be NaN
        p = probability(old).clamp(min=torch.finfo(torch.float32).tiny)
        floor = 0.5 + 0.5 * (1 - 4 * self.low / p).clamp(min=0.0).sqrt()
        ceiling = 0.5 + 0.5 * (1 + 4 * self.high / p).sqrt()
        return ClipBounds(1 - floor, ceiling.clamp(max=self.cap) - 1)
