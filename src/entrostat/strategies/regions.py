"""A threshold of its own for each region of Chen et al. (arXiv 2602.09782): which
tokens' gradient is worth how much.

E1 and E2 (A > 0) are bounded above, E3 and E4 (A < 0) below. E1 and E3 are tokens
likelier than the old policy's entropy says, ln p + H > 0, E2 and E4 the others. So
bounds per token are enough, and no advantage enters. A token of no region
(ln p + H = 0) counts as unlikely.
"""

import dataclasses

import torch

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats, excess_surprisal
from entrostat.strategies.base import (
    NoState,
    Reads,
    RolloutSummary,
    Strategy,
    checked,
    require_stats,
)

SHUT_BELOW = -1000.0
"""Lower half-width of a region that is shut: its floor, 1001, is over any ratio. Above,
-1 does: no ratio is under 0."""


@dataclasses.dataclass(frozen=True)
class Regions(Strategy):
    """Four thresholds, one per region. A region's tokens count while their ratio has
    not moved further than that.

    Below 0 a token counts only once its ratio has moved that far the other way; -1
    shuts the region: none counts.
    """

    e1: float = 0.2
    """Likely tokens, A > 0, which lower entropy: r <= 1 + e1."""
    e2: float = 0.2
    """Unlikely tokens, A > 0, which raise it: r <= 1 + e2."""
    e3: float = 0.2
    """Likely tokens, A < 0, which raise it: r >= 1 - e3."""
    e4: float = 0.2
    """Unlikely tokens, A < 0, which lower it: r >= 1 - e4."""

    def __post_init__(self):
        for name in ("e1", "e2", "e3", "e4"):
            checked(
                name,
                getattr(self, name),
                low=-1.0,
                why="at least -1 (which shuts the region)",
            )

    @property
    def reads(self) -> Reads:
        return Reads.TOKEN_ENTROPY

    @property
    def acts_on_fresh(self) -> bool:
        return min(self.e1, self.e2, self.e3, self.e4) < 0

    @property
    def highest(self) -> float:
        return max(self.e1, self.e2)

    @property
    def per_token(self) -> bool:
        return self.e1 != self.e2 or self.e3 != self.e4

    def init(self) -> NoState:
        return NoState()

    def observe(self, state: NoState, summary: RolloutSummary) -> NoState:
        return state

    def bounds(self, state: NoState, old: TokenStats) -> ClipBounds:
        """Raises ValueError where the engine gives no entropy of the old policy."""
        require_stats(self, old)
        likely = excess_surprisal(old).detach() > 0
        low = torch.where(likely, _lower(self.e3), _lower(self.e4))
        high = torch.where(likely, self.e1, self.e2)
        return ClipBounds(low.float(), high.float())


def _lower(threshold: float) -> float:
    """The half-width below 1 for a region's threshold."""
    return SHUT_BELOW if threshold == -1.0 else threshold
