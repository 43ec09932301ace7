"""The registry of strategies, and the one way to make one by name.

Nothing here imports torch: a strategy's module is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from entrostat.lazy import attributes
from entrostat.registry import Registry

if TYPE_CHECKING:
    from entrostat.strategies.base import (
        NoState,
        Reads,
        RolloutSummary,
        Strategy,
        state_from_json,
        state_to_json,
    )

__all__ = [
    "STRATEGIES",
    "NoState",
    "Reads",
    "RolloutSummary",
    "Strategy",
    "make_strategy",
    "state_from_json",
    "state_to_json",
    "strategy_name",
]

_BASE = "entrostat.strategies.base"
__getattr__ = attributes(
    __name__,
    {
        "NoState": _BASE,
        "Reads": _BASE,
        "RolloutSummary": _BASE,
        "Strategy": _BASE,
        "state_from_json": _BASE,
        "state_to_json": _BASE,
    },
)

STRATEGIES: "Registry[Strategy]" = Registry(
    "strategy",
    {
        "grpo": "entrostat.strategies.static:Grpo",
        "clip-higher": "entrostat.strategies.static:ClipHigher",
        "clip-lower": "entrostat.strategies.static:ClipLower",
        "id": "entrostat.strategies.phased:Id",
        "did": "entrostat.strategies.phased:Did",
        "od": "entrostat.strategies.oscillatory:Od",
        "dynamic": "entrostat.strategies.dynamic:WholeRun",
        "dcpo": "entrostat.strategies.dcpo:Dcpo",
        "dppo": "entrostat.strategies.dppo:Dppo",
        "regions": "entrostat.strategies.regions:Regions",
        "mai": "entrostat.strategies.adaptive:Mai",
        "adapo": "entrostat.strategies.adaptive:Adapo",
        "thermostat": "entrostat.strategies.thermostat:Thermostat",
    },
)


def make_strategy(name: str, **options: Any) -> "Strategy":
    """The strategy called `name`, its options as keywords.

    Raises ValueError for an unknown name or option, naming the near ones, and for a
    value out of range.

    >>> make_strategy("clip-lower", low=0.1)
    ClipLower(low=0.1, high=inf)
    """
    return STRATEGIES.make(name, **options)


def strategy_name(strategy: "Strategy") -> str:
    """The registry's name of a strategy, or its class's name when it is somebody's
    own."""
    return STRATEGIES.name_of(strategy)
