"""The registry of strategies, and the one way to make one by name."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

from entrostat.strategies.base import NoState, RolloutSummary, Strategy, state_from_json, state_to_json
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
    "RolloutSummary",
    "Strategy",
    "as_arguments",
    "flags",
    "is_controller",
    "make_strategy",
    "near",
    "options",
    "state_from_json",
    "state_to_json",
    "strategy_name",
]

STRATEGIES: Mapping[str, type[Strategy]] = MappingProxyType(
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
    }
)


def near(word: str, words: Iterable[str]) -> str:
    """`did you mean ...?` for a mistyped name, then all names."""
    words = list(words)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}known: {', '.join(words)}"


def make_strategy(name: str, **options: Any) -> Strategy:
    """The strategy called `name`, its options as keywords.

    Raises ValueError for an unknown name or option, naming the near ones, and for a value out of range.

    >>> make_strategy("clip-lower", low=0.1)
    ClipLower(low=0.1, high=inf)
    """
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: {near(name, STRATEGIES)}")
    kind = STRATEGIES[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for option in options:
        if option not in known:
            raise ValueError(f"strategy {name!r} has no option {option!r}: {near(option, known)}")
    return kind(**options)


def strategy_name(strategy: Strategy) -> str:
    """The registry's name of a strategy, or its class's name when it is somebody's own."""
    return next((name for name, kind in STRATEGIES.items() if type(strategy) is kind), type(strategy).__name__)


def is_controller(strategy: Strategy | None) -> TypeGuard[Strategy]:
    """Whether it is a strategy that closes a loop on the measured entropy."""
    return isinstance(strategy, Od) or hasattr(strategy, "target")


def as_arguments(strategy: Strategy) -> list[str]:
    """The strategy as words of the command line: its name, and the options that are not its defaults.

    >>> as_arguments(make_strategy("clip-lower", low=0.02))
    ['clip-lower', '--low', '0.02']
    """
    return [strategy_name(strategy), *flags(strategy)]


def flags(chosen: Any) -> list[str]:
    """A dataclass's options that are not its defaults, as words of the command line."""
    words: list[str] = []
    for field in dataclasses.fields(chosen):
        made = field.default_factory
        if (value := getattr(chosen, field.name)) == (field.default if made is dataclasses.MISSING else made()):
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{field.name.replace('_', '-')}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return words


def options(strategy: Any) -> dict[str, Any]:
    """The options of a strategy, or of an objective, and their values."""
    return dataclasses.asdict(strategy)
