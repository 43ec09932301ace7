"""Constant thresholds: plain GRPO, and the two static ways of keeping entropy up."""

import dataclasses
import math

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import NoState, RolloutSummary, Strategy, checked, full


@dataclasses.dataclass(frozen=True)
class Static(Strategy):
    """One pair of thresholds for all tokens, for the whole run."""

    low: float
    high: float

    def __post_init__(self):
        checked("low", self.low, low=0.0, why="at least 0 (1 disables clip-low)")
        checked("high", self.high, low=0.0, why="at least 0 (inf disables clip-high)")

    @property
    def highest(self) -> float:
        return self.high

    @property
    def per_token(self) -> bool:
        return False

    def init(self) -> NoState:
        return NoState()

    def observe(self, state: NoState, summary: RolloutSummary) -> NoState:
        return state

    def bounds(self, state: NoState, old: TokenStats) -> ClipBounds:
        return ClipBounds(full(old, self.low), full(old, self.high))


@dataclasses.dataclass(frozen=True)
class Grpo(Static):
    """PPO's and GRPO's constant window, r in [1 - low, 1 + high]; low = 1 and
    high = inf disable a side."""

    low: float = 0.2
    """Half-width below 1. Smaller: more clip-low events, more entropy."""
    high: float = 0.2
    """Half-width above 1. Smaller: more clip-high events, less entropy."""


@dataclasses.dataclass(frozen=True)
class ClipHigher(Static):
    """Clip-Higher of DAPO (arXiv 2503.14476): more room above, so that unlikely tokens
    can grow."""

    low: float = 0.2
    """Half-width below 1."""
    high: float = 0.28
    """Half-width above 1."""


@dataclasses.dataclass(frozen=True)
class ClipLower(Static):
    """Clip-Lower of arXiv 2509.26114: no clip-high, and a tight clip-low whose events
    raise entropy."""

    low: float = 0.15
    """Half-width below 1. The entropy knob: smaller keeps more of it,
    and too small a value can explode it."""
    high: float = math.inf
    """Half-width above 1."""
