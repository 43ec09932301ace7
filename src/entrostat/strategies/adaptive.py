"""Adaptive upper thresholds: one number for all tokens, moved once per rollout towards a
target entropy.

Microsoft's MAI-Thinking-1 (June 2026), with eps 0.6, delta 0.25, k_max 2.5:

    r in [1 - eps, 1 / (1 - eps) + k]        k <- clip(k + delta sign(H* - H), 0, k_max)

from k = 0. Left out: an outer clip of the ratio at 50 on every branch (in TRL: delta=50),
and its estimate of H by importance weights (the rollout's own entropy is exact here).

ADAPO (arXiv 2603.11682): DAPO's upper half-width, adapted to the entropy. Second-hand, and
its rule is not known here. Taken: it is multiplied by `factor` while H is under the target
and divided by it while H is over, and stays between `low` and `most`.
"""

import dataclasses
import math
from abc import abstractmethod
from typing import NamedTuple

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.schedule import parse_schedule
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    Strategy,
    check_target,
    checked,
    full,
    measured_entropy,
    not_negative,
)


class AdaptiveState(NamedTuple):
    """What an adaptive upper threshold remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    target: float = 0.0
    """Nats, of the rollout in progress; 0 before the first."""
    high: float = 0.0
    """Half-width above 1 of the rollout in progress; 0 before the first."""


@dataclasses.dataclass(frozen=True)
class Adaptive(Strategy):
    """Base: where the upper half-width starts, and how it moves."""

    target: str | float = 0.3
    """Entropy aimed at, nats per token, or a schedule: linear:A:B, ..."""

    def __post_init__(self):
        check_target("target", self.target)

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    @property
    def controls_entropy(self) -> bool:
        return True

    @property
    def per_token(self) -> bool:
        return False

    @property
    @abstractmethod
    def first_high(self) -> float:
        """Half-width above 1 before anything is observed."""

    @property
    @abstractmethod
    def constant_low(self) -> float:
        """Half-width below 1, which does not move."""

    @abstractmethod
    def moved(self, high: float, *, up: bool) -> float:
        """The half-width after a rollout whose entropy was under the target (`up`) or
        not."""

    def init(self) -> AdaptiveState:
        return AdaptiveState()

    def observe(self, state: AdaptiveState, summary: RolloutSummary) -> AdaptiveState:
        """Moves the threshold. With an entropy of NaN it stays."""
        entropy = measured_entropy(self, summary)
        target = parse_schedule(self.target)(summary.progress, state.rollouts)
        high = state.high or self.first_high
        if math.isfinite(entropy):
            high = self.moved(high, up=entropy < target)
        return AdaptiveState(state.rollouts + 1, target, high)

    def bounds(self, state: AdaptiveState, old: TokenStats) -> ClipBounds:
        high = state.high or self.first_high
        return ClipBounds(full(old, self.constant_low), full(old, high))

    def signals(self, state: AdaptiveState) -> dict[str, float]:
        """target in nats; high, the half-width above 1."""
        if not state.rollouts:
            return {}
        return {"target": state.target, "high": state.high}


@dataclasses.dataclass(frozen=True)
class Mai(Adaptive):
    """MAI-Thinking-1's rule: a wide window whose upper end moves by a constant step
    towards the target."""

    eps: float = 0.6
    """Half-width below 1; the upper end starts at 1 / (1 - eps)."""
    delta: float = 0.25
    """Step of the upper end per rollout."""
    k_max: float = 2.5
    """Farthest that the upper end goes beyond its start."""

    def __post_init__(self):
        super().__post_init__()
        checked("eps", self.eps, low=1e-4, high=0.99, why="in [1e-4, 0.99]")
        not_negative(self, "delta", "k_max", most=1e3)

    @property
    def first_high(self) -> float:
        return 1 / (1 - self.eps) - 1

    @property
    def highest(self) -> float:
        return self.first_high + self.k_max

    def moved(self, high: float, *, up: bool) -> float:
        stepped = high + (self.delta if up else -self.delta)
        return min(max(stepped, self.first_high), self.highest)

    @property
    def constant_low(self) -> float:
        return self.eps


@dataclasses.dataclass(frozen=True)
class Adapo(Adaptive):
    """ADAPO: DAPO's upper half-width, wider while entropy is under the target and
    narrower while it is over."""

    low: float = 0.2
    """Half-width below 1, and the least above."""
    high: float = 0.28
    """Half-width above 1 at the start."""
    most: float = 1.0
    """Largest half-width above 1."""
    factor: float = 1.1
    """By which it grows or shrinks per rollout."""

    def __post_init__(self):
        super().__post_init__()
        checked("low", self.low, low=1e-4, high=1.0, why="in [1e-4, 1]")
        checked("high", self.high, low=self.low, why=f"at least low, {self.low}")
        checked("most", self.most, low=self.high, why=f"at least high, {self.high}")
        checked("factor", self.factor, low=1.0, high=10.0, why="in [1, 10]")

    @property
    def first_high(self) -> float:
        return self.high

    @property
    def highest(self) -> float:
        return self.most

    def moved(self, high: float, *, up: bool) -> float:
        stepped = high * self.factor if up else high / self.factor
        return min(max(stepped, self.low), self.most)

    @property
    def constant_low(self) -> float:
        return self.low
