"""DPPO's window (arXiv 2602.04879, binary total variation): it bounds the change of a
token's probability, not of its ratio.

    a token is dropped where A < 0 and p - p_old < -low, or A > 0 and p - p_old > high

prime-rl's default loss drops by it (dppo_mask_low and dppo_mask_high, 0.2 and 0.2). It is
a window on the ratio with half-widths low / p_old and high / p_old, so it runs in every
engine. Left out: DPPO's cap of the ratio's weight (20 in the paper's code), and the KL
term that prime-rl adds.
"""

import dataclasses

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.mask import over_ratio
from entrostat.strategies.base import NoState, RolloutSummary, Strategy, checked, full


@dataclasses.dataclass(frozen=True)
class Dppo(Strategy):
    """DPPO (arXiv 2602.04879): a window on the change of a token's probability. The
    papers' rule for low and high turns round under it: docs/masks.md."""

    low: float = 0.2
    """How far p may fall where A < 0. 1 disables the side."""
    high: float = 0.2
    """How far p may rise where A > 0. 1 disables the side."""

    def __post_init__(self):
        for name in ("low", "high"):
            value = getattr(self, name)
            checked(
                name,
                value,
                low=0.0,
                high=1.0,
                why="a change of a probability, from 0 to 1 (1 disables the side)",
            )

    @property
    def per_token(self) -> bool:
        return True

    def init(self) -> NoState:
        return NoState()

    def observe(self, state: NoState, summary: RolloutSummary) -> NoState:
        return state

    def bounds(self, state: NoState, old: TokenStats) -> ClipBounds:
        on_probability = ClipBounds(full(old, self.low), full(old, self.high))
        return over_ratio(on_probability, old.logprobs)
