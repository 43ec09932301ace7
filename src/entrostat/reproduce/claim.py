"""A paper's claim as a check that runs: its criterion stands before the run, its result is numbers and a verdict."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from entrostat.estimate import Interval

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Mode:
    """How much of a check runs."""

    seeds: int = 8
    """Independent repetitions, seeds 0, 1, ...: at least 5, or an interval over them says nothing."""

    def __post_init__(self):
        if self.seeds < 5:
            raise ValueError(f"--seeds must be at least 5 for an interval to mean something, got {self.seeds}")


@dataclass(frozen=True)
class Result:
    """What a run of a check found."""

    verdict: Verdict
    """holds, fails, or undecided where the run was too small to tell."""
    effect: float
    """The one number that speaks for the claim; `Claim.measure` says what it is."""
    interval: Interval | None
    """Of the effect, over seeds."""
    numbers: dict[str, float] = field(default_factory=dict)
    """All other numbers, by name."""
    seconds: float = math.nan
    """Wall clock of the run."""


@dataclass(frozen=True)
class Claim:
    """A claim, its source, and the check of it."""

    name: str
    """What the command line calls it."""
    statement: str
    """One line."""
    source: str
    """Paper and place, or where the project derived it."""
    criterion: str
    """When the verdict is `holds`, with its limits."""
    measure: str
    """What the effect is, in a few words."""
    run: Callable[[Mode], Result]
    """The check; the same numbers for the same mode."""

    def described(self) -> dict[str, Any]:
        """What is known before a run, JSON-able."""
        return {
            "claim": self.name,
            "statement": self.statement,
            "source": self.source,
            "criterion": self.criterion,
            "measure": self.measure,
        }

    def report(self, result: Result) -> dict[str, Any]:
        """`described` and the result, JSON-able: strict JSON, so a number that is not finite is null."""
        found = asdict(result) | {"interval": result.interval and result.interval._asdict()}
        return self.described() | _finite(found)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
