"""The dynamic thresholds of arXiv 2602.09782 through a whole run, on one side or on
both."""

import dataclasses

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import NoState, RolloutSummary, full
from entrostat.strategies.phased import Dynamic


@dataclasses.dataclass(frozen=True)
class WholeRun(Dynamic):
    """The dynamic thresholds of ID and DID without phases: the upper raises entropy,
    the lower lowers it."""

    upper_dynamic: bool = True
    """Whether the threshold above 1 is dynamic; eps else."""
    lower_dynamic: bool = True
    """Whether the threshold below 1 is dynamic; eps else."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("upper_dynamic", "lower_dynamic"):
            given = getattr(self, name)
            if not isinstance(given, bool):
                raise ValueError(f"{name} must be true or false, got {given!r}")
        if not (self.upper_dynamic or self.lower_dynamic):
            raise ValueError(
                "one of upper_dynamic and lower_dynamic must be on: for none of them "
                "use grpo"
            )

    @property
    def highest(self) -> float:
        return self.upper_beta if self.upper_dynamic else self.eps

    def init(self) -> NoState:
        return NoState()

    def observe(self, state: NoState, summary: RolloutSummary) -> NoState:
        return state

    def bounds(self, state: NoState, old: TokenStats) -> ClipBounds:
        constant = full(old, self.eps)
        low = self.lower(old) if self.lower_dynamic else constant
        high = self.upper(old) if self.upper_dynamic else constant
        return ClipBounds(low, high)
