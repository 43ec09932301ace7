"""The registry of strategies, and the one way to make one by name."""

from typing import Any

from entrostat.registry import Registry
from entrostat.strategies.base import (
    NoState,
    Reads,
    RolloutSummary,
    Strategy,
    state_from_json,
    state_to_json,
)
from entrostat.strategies.dcpo import Dcpo
from entrostat.strategies.dynamic import WholeRun
from entrostat.strategies.oscillatory import Od
from entrostat.strategies.phased import Did, Id
from entrostat.strategies.regions import Regions
from entrostat.strategies.static import ClipHigher, ClipLower, Grpo
from entrostat.strategies.thermostat import Thermostat

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

STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    {
        "grpo": Grpo,
        "clip-higher": ClipHigher,
        "clip-lower": ClipLower,
        "id": Id,
        "did": Did,
        "od": Od,
        "dynamic": WholeRun,
        "dcpo": Dcpo,
        "regions": Regions,
        "thermostat": Thermostat,
    },
)


def make_strategy(name: str, **options: Any) -> Strategy:
    """The strategy called `name`, its options as keywords.

    Raises ValueError for an unknown name or option, naming the near ones, and for a
    value out of range.

    >>> make_strategy("clip-lower", low=0.1)
    ClipLower(low=0.1, high=inf)
    """
    return STRATEGIES.make(name, **options)


def strategy_name(strategy: Strategy) -> str:
    """The registry's name of a strategy, or its class's name when it is somebody's
    own."""
    return STRATEGIES.name_of(strategy)
