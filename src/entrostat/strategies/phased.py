"""Dynamic thresholds by phase (arXiv 2602.09782): ID raises entropy and then lowers it,
DID lowers, raises, lowers.

Both mix a constant `eps` with a threshold that depends on how likely the token was,
eps(pi) = alpha pi + beta with alpha < 0: loose for unlikely tokens, tight for likely
ones. The paper bounds the current probability. Its closed form in the old one is used
here, so that no gradient runs through a bound (pi = r pi_old, solved for r):

    paper:          r <= 1 + alpha pi + beta    <=>  r <= (1 + beta) / (1 - alpha pi_old)
    derived here:   r >= 1 - (alpha pi + beta)  <=>  r >= (1 - beta) / (1 + alpha pi_old)

The upper one raises entropy: it keeps E2 and restrains E1. The lower one lowers it: it
keeps E4 and restrains E3.
"""

import dataclasses
from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import (
    RolloutSummary,
    Strategy,
    checked,
    full,
    not_negative,
    probability,
)


class PhasedState(NamedTuple):
    """How far the run is."""

    progress: float
    """Rollouts done over rollouts in all."""


@dataclasses.dataclass(frozen=True)
class Dynamic(Strategy):
    """The probability-dependent thresholds. Two independent public configurations agree
    on the constants."""

    eps: float = 0.2
    """The constant half-width that the dynamic ones are mixed with
    (one public source)."""
    upper_alpha: float = -0.25
    """Slope of the upper threshold in the token's probability."""
    upper_beta: float = 0.5
    """Upper threshold of a token of probability 0:
    its cap runs from 1 + beta down to (1 + beta) / (1 - alpha)."""
    lower_alpha: float = -0.13
    """Slope of the lower threshold in the token's probability."""
    lower_beta: float = 0.3
    """Lower threshold of a token of probability 0:
    its floor runs from 1 - beta up to (1 - beta) / (1 + alpha)."""

    def __post_init__(self):
        not_negative(self, "eps")
        checked("upper_alpha", self.upper_alpha, high=0.0, why="at most 0")
        checked(
            "upper_beta",
            self.upper_beta,
            low=-self.upper_alpha,
            high=1e6,
            why="at least -upper_alpha",
        )
        checked(
            "lower_alpha", self.lower_alpha, low=-0.99, high=0.0, why="in [-0.99, 0]"
        )
        checked(
            "lower_beta",
            self.lower_beta,
            low=-self.lower_alpha,
            high=1.0,
            why="in [-lower_alpha, 1]",
        )

    @property
    def highest(self) -> float:
        return max(self.eps, self.upper_beta)

    @property
    def per_token(self) -> bool:
        return True

    def upper(self, old: TokenStats) -> Tensor:
        """Half-width above 1 of the dynamic threshold, (b t): 2602.09782's upper bound
        in closed form."""
        return (1 + self.upper_beta) / (1 - self.upper_alpha * probability(old)) - 1

    def lower(self, old: TokenStats) -> Tensor:
        """Half-width below 1 of the dynamic threshold, (b t): the lower bound in closed
        form, derived here."""
        return 1 - (1 - self.lower_beta) / (1 + self.lower_alpha * probability(old))

    def mixed(self, weight: float, dynamic: Tensor, old: TokenStats) -> Tensor:
        """weight * dynamic + (1 - weight) * eps."""
        return weight * dynamic + full(old, (1 - weight) * self.eps)


@dataclasses.dataclass(frozen=True)
class Phased(Dynamic):
    """Two phases over the run, the first `first_phase` of it long.

    With first_phase = 1/2, lambda = 1 - 2k/T runs from 1 to 0 in the first phase and on
    to -1 in the second (paper). For other shares s, lambda is stretched within each
    phase (derived here): 1 - k/(sT), then -(k - sT)/((1 - s)T).
    """

    first_phase: float = 0.5
    """Share of the run that the first phase takes.
    The paper tries 0.3, 0.4, 0.5 and 0.6, and finds 0.5 best."""

    def __post_init__(self):
        super().__post_init__()
        checked(
            "first_phase",
            self.first_phase,
            low=1e-9,
            high=1 - 1e-9,
            why="between 0 and 1",
        )

    def init(self) -> PhasedState:
        return PhasedState(progress=0.0)

    def observe(self, state: PhasedState, summary: RolloutSummary) -> PhasedState:
        return PhasedState(progress=float(summary.progress))

    def bounds(self, state: PhasedState, old: TokenStats) -> ClipBounds:
        share = self.first_phase
        if state.progress <= share:
            lam = 1 - state.progress / share
            return ClipBounds(full(old, self.eps), self.first_upper(lam, old))
        lam = -(state.progress - share) / (1 - share)
        # the dynamic lower threshold at the start of the second phase, fading to eps at
        # the end. One public note has this ramp reversed.
        low = self.mixed(1 + lam, self.lower(old), old)
        return ClipBounds(low, self.second_upper(old))

    @abstractmethod
    def first_upper(self, lam: float, old: TokenStats) -> Tensor:
        """Upper half-width in the first phase, where `lam` falls from 1 to 0."""

    @abstractmethod
    def second_upper(self, old: TokenStats) -> Tensor:
        """Upper half-width in the second phase."""


@dataclasses.dataclass(frozen=True)
class Id(Phased):
    """ID of arXiv 2602.09782: entropy increases, then decreases.

    First phase: upper fades from dynamic to eps, lower eps. Second: upper eps, lower
    fades from dynamic to eps.
    """

    def first_upper(self, lam: float, old: TokenStats) -> Tensor:
        return self.mixed(lam, self.upper(old), old)

    def second_upper(self, old: TokenStats) -> Tensor:
        return full(old, self.eps)


@dataclasses.dataclass(frozen=True)
class Did(Phased):
    """DID of arXiv 2602.09782: entropy decreases, increases, decreases.

    First phase: upper grows from eps to dynamic, lower eps. Second: upper dynamic,
    lower fades from dynamic to eps.
    """

    def first_upper(self, lam: float, old: TokenStats) -> Tensor:
        return self.mixed(1 - lam, self.upper(old), old)

    def second_upper(self, old: TokenStats) -> Tensor:
        return self.upper(old)
