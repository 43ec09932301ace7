"""A paper's claim as a check that runs: its criterion stands before the run, its result is numbers and a verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from entrostat.estimate import Interval

if TYPE_CHECKING:
    from entrostat.reproduce.runs import Job, Records

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Mode:
    """How much of a check runs."""

    fast: bool = False
    """Few seeds and short runs: enough for signs, seldom for a verdict."""
    seeds: int | None = None
    """Independent repetitions of each check; None for the check's own number."""

    def __post_init__(self):
        if self.seeds is not None and self.seeds < 2:
            raise ValueError(f"--seeds must be at least 2 for an interval over them, got {self.seeds}")

    def repeats(self, full: int, fast: int = 2) -> range:
        """The seeds of a check that asks for `full` of them, or for `fast` when fast."""
        return range(self.seeds or (fast if self.fast else full))


class Part(NamedTuple):
    """One comparison of a check."""

    what: str
    """What the number is."""
    interval: Interval
    """95%, over seeds unless the check says otherwise."""
    wanted: str
    """Where the interval has to lie."""
    right: bool
    """Whether the mean lies there."""
    verdict: Verdict


@dataclass(frozen=True)
class Result:
    """What a check found."""

    verdict: Verdict
    """holds, fails, or undecided where the runs were too few or too short to tell."""
    effect: float
    """The one number that speaks for the claim; `Claim.measure` says what it is."""
    interval: Interval | None
    """Of the effect, over seeds."""
    parts: tuple[Part, ...] = ()
    """The comparisons that the verdict is made of; empty where one number is enough."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """All other numbers, by name."""


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
    judge: Callable[[Mode, "Records"], Result]
    """The check, from the records of its runs; the same numbers for the same records."""
    jobs: Callable[[Mode, "Records"], Sequence["Job"]] = lambda mode, records: ()
    """The runs that it stands on. It is asked again when they are recorded: later ones may depend on them."""
    fast: str = "the same, with fewer seeds and shorter runs: signs, seldom a verdict"
    """What the fast version shows."""

    def described(self) -> dict[str, Any]:
        """What is known before a run, JSON-able."""
        return {
            "claim": self.name,
            "statement": self.statement,
            "source": self.source,
            "criterion": self.criterion,
            "measure": self.measure,
            "fast": self.fast,
        }

    def report(self, result: Result) -> dict[str, Any]:
        """`described` and the result, JSON-able: strict JSON, so a number that is not finite is null."""
        parts = [part._asdict() | {"interval": part.interval._asdict()} for part in result.parts]
        found = asdict(result) | {"interval": result.interval and result.interval._asdict(), "parts": parts}
        return self.described() | _finite(found)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
