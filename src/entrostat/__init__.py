"""entrostat: hold a language model's policy entropy where you want it, with the clip thresholds of GRPO alone."""

from entrostat.clip import ClipBounds, ClipEvents, aggregate, clip_events, clip_loss
from entrostat.entropy import Region, TokenStats, entropy_change, regions, token_stats
from entrostat.estimate import pass_at_k
from entrostat.response import ResponseBatch, response_map
from entrostat.strategies import STRATEGIES, RolloutSummary, make_strategy

__version__ = "0.1.0"

__all__ = [
    "STRATEGIES",
    "ClipBounds",
    "ClipEvents",
    "Region",
    "ResponseBatch",
    "RolloutSummary",
    "TokenStats",
    "aggregate",
    "clip_events",
    "clip_loss",
    "entropy_change",
    "make_strategy",
    "pass_at_k",
    "regions",
    "response_map",
    "token_stats",
]
