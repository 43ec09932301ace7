"""OD (arXiv 2602.09782): entropy swings between a fixed floor and a ceiling that comes
down to it over the run."""

import dataclasses
import math
from typing import NamedTuple

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    checked,
    full,
    measured_entropy,
)
from entrostat.strategies.phased import Dynamic


class OscillatoryState(NamedTuple):
    """Which way entropy is being pushed, and where it began."""

    raising: int
    """1 while entropy is raised, 0 while it is lowered."""
    rollouts: int
    """Rollouts observed."""
    initial_entropy: float
    """Mean token entropy of the first rollout that had tokens, in nats; 0 before it."""


@dataclasses.dataclass(frozen=True)
class Od(Dynamic):
    """OD of arXiv 2602.09782: oscillatory decay.

    Raises entropy once it is at or under H_min = floor * H_init, lowers it once it is
    over H_min + (H_init - H_min)(1 - k/T), and goes on as before in between. Raising:
    (dynamic upper, eps); lowering: (eps, dynamic lower). The paper gives neither its
    first state (here: lowering) nor H_init (here: the entropy of the first rollout that
    had tokens).
    """

    floor: float = 0.2
    """H_min over H_init."""

    def __post_init__(self):
        super().__post_init__()
        checked("floor", self.floor, low=0.0, high=1.0, why="in [0, 1]")

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    @property
    def controls_entropy(self) -> bool:
        return True

    def init(self) -> OscillatoryState:
        return OscillatoryState(raising=0, rollouts=0, initial_entropy=0.0)

    def observe(
        self, state: OscillatoryState, summary: RolloutSummary
    ) -> OscillatoryState:
        """The direction for the rollout's updates. It stays where the entropy is NaN:
        no token was trained on.

        Raises ValueError where the engine gives no entropy.
        """
        entropy = measured_entropy(self, summary)
        state = state._replace(rollouts=state.rollouts + 1)
        if not math.isfinite(entropy):
            return state
        initial = state.initial_entropy or entropy
        lowest = self.floor * initial
        highest = lowest + (initial - lowest) * (1 - summary.progress)
        raising = state.raising
        if entropy <= lowest:
            raising = 1
        elif entropy > highest:
            raising = 0
        return state._replace(raising=raising, initial_entropy=initial)

    def bounds(self, state: OscillatoryState, old: TokenStats) -> ClipBounds:
        if state.raising:
            return ClipBounds(full(old, self.eps), self.upper(old))
        return ClipBounds(self.lower(old), full(old, self.eps))
