"""entrostat: hold a language model's policy entropy where you want it, with the clip
thresholds of GRPO alone."""

from typing import TYPE_CHECKING

from entrostat.lazy import attributes

if TYPE_CHECKING:
    from entrostat.clip import (
        ClipBounds,
        ClipEvents,
        aggregate,
        clip_events,
        clip_loss,
    )
    from entrostat.diagnose.notebook import diagnosis
    from entrostat.entropy import (
        Region,
        TokenStats,
        entropy_change,
        regions,
        token_stats,
    )
    from entrostat.estimate import pass_at_k
    from entrostat.importance import importance_entropy
    from entrostat.report import load_run, write_report
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
    "diagnosis",
    "entropy_change",
    "importance_entropy",
    "load_run",
    "make_strategy",
    "pass_at_k",
    "regions",
    "response_map",
    "token_stats",
    "write_report",
]

_HOMES = {
    "STRATEGIES": "entrostat.strategies",
    "ClipBounds": "entrostat.clip",
    "ClipEvents": "entrostat.clip",
    "Region": "entrostat.entropy",
    "ResponseBatch": "entrostat.response",
    "RolloutSummary": "entrostat.strategies.base",
    "TokenStats": "entrostat.entropy",
    "aggregate": "entrostat.clip",
    "clip_events": "entrostat.clip",
    "clip_loss": "entrostat.clip",
    "diagnosis": "entrostat.diagnose.notebook",
    "entropy_change": "entrostat.entropy",
    "importance_entropy": "entrostat.importance",
    "load_run": "entrostat.report",
    "make_strategy": "entrostat.strategies",
    "pass_at_k": "entrostat.estimate",
    "regions": "entrostat.entropy",
    "response_map": "entrostat.response",
    "token_stats": "entrostat.entropy",
    "write_report": "entrostat.report",
}

__getattr__ = attributes(__name__, _HOMES)
