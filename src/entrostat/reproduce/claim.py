"""A paper's claim as a check that runs.

Its criterion stands before the run; its result is numbers and a verdict.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from entrostat.estimate import Interval

if TYPE_CHECKING:
    from entrostat.reproduce.runs import AnyJob, Records

Verdict = Literal["holds", "fails", "undecided"]
Standing = Literal["reproduced", "not reproduced at this scale", "contradicted", "open"]

FEWEST = 3
"""Seeds that an interval and a verdict take. With two, Student's t is 12.7: the two
numbers themselves say more than their interval."""


def standing(verdict: Verdict, scale: str | None) -> Standing:
    """What a verdict says of the paper.

    A check that fails contradicts the paper only where nothing of its set-up is missing
    here. `scale` is what is missing, `Claim.scale`.
    """
    if verdict == "holds":
        return "reproduced"
    if verdict == "undecided":
        return "open"
    return "contradicted" if scale is None else "not reproduced at this scale"


@dataclass(frozen=True)
class Mode:
    """How much of a check runs."""

    fast: bool = False
    """Few seeds and short runs: enough for signs, seldom for a verdict."""
    seeds: int | None = None
    """Independent repetitions of each check; None for the check's own number."""

    def __post_init__(self):
        if self.seeds is not None and self.seeds < 2:
            raise ValueError(
                f"--seeds must be at least 2, got {self.seeds}; claims on training runs "
                f"take {FEWEST} for an interval and a verdict"
            )

    def count(self, full: int, fast: int = 2) -> int:
        """How many seeds a check takes that asks for `full`, or for `fast` when fast."""
        if self.seeds is not None:
            return self.seeds
        return fast if self.fast else full

    def repeats(self, full: int, fast: int = 2) -> range:
        """The seeds themselves, from 0 up."""
        return range(self.count(full, fast))


class Spread(NamedTuple):
    """A mean over seeds and its 95% interval."""

    value: float
    low: float
    """nan, as `high`, where the seeds are too few for an interval."""
    high: float
    points: tuple[float, ...]
    """The seeds' own values."""


class Part(NamedTuple):
    """One comparison of a check."""

    what: str
    """What the number is."""
    interval: Spread
    """Over seeds unless the check says otherwise."""
    wanted: str
    """Where the interval has to lie."""
    right: bool
    """Whether the mean lies there."""
    verdict: Verdict
    margin: float
    """From the bound to the mean, in half-widths of the interval on that side: over 1
    it holds, under -1 it fails."""
    least: float
    """The smallest distance of the true mean from the bound that so many seeds, with
    this spread, detect in 4 of 5 cases (`estimate.least_effect`); nan without an
    interval."""


@dataclass(frozen=True)
class Result:
    """The outcome of a check."""

    verdict: Verdict
    """holds, fails, or undecided where the runs were too few or too short to tell."""
    effect: float
    """The claim's own number; `Claim.measure` says what it is."""
    interval: Interval | Spread | None
    """Of the effect, over seeds."""
    parts: tuple[Part, ...] = ()
    """The comparisons that the verdict is made of; empty where one number is enough."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """All other numbers, by name: floats, spreads, or texts."""

    @property
    def deciding(self) -> Part | None:
        """The part that the verdict turns on.

        It is the one furthest on the wrong side, of those with the claim's own verdict.
        Parts have units of their own, so "furthest" is in half-widths of the interval;
        a part without an interval comes last. Where the claim holds it is the first
        part, the claim's own number.
        """
        if self.verdict == "holds":
            return self.parts[0] if self.parts else None
        blocking = [part for part in self.parts if part.verdict == self.verdict]
        return min(blocking, key=_margin_or_last, default=None)


def _margin_or_last(part: Part) -> float:
    return math.inf if math.isnan(part.margin) else part.margin


def _no_jobs(mode: Mode, records: "Records") -> Sequence["AnyJob"]:
    """Of a claim that is judged without runs."""
    return ()


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
    use: str
    """What a practitioner does with it: when to use it, when not."""
    judge: Callable[[Mode, "Records"], Result]
    """The check, from the records of its runs; the same numbers for the same records."""
    jobs: Callable[[Mode, "Records"], Sequence["AnyJob"]] = _no_jobs
    """The runs that it stands on. It is asked again when they are recorded: later ones
    may depend on them."""
    fast: str = "the same with fewer seeds and shorter runs: signs, seldom a verdict"
    """What the fast version shows."""
    scale: str | None = None
    """What the lab lacks of the paper's set-up, where that may be why the claim fails
    here; None where the claim should hold at any scale. It is no proof: it says where
    to look."""

    def described(self) -> dict[str, Any]:
        """What is known before a run, JSON-able."""
        return {
            "claim": self.name,
            "statement": self.statement,
            "source": self.source,
            "criterion": self.criterion,
            "measure": self.measure,
            "use": self.use,
            "scale": self.scale,
            "fast": self.fast,
        }

    def report(self, result: Result) -> dict[str, Any]:
        """`described` and the result, JSON-able.

        "standing" is what the verdict says of the paper. "reason" is what the lab lacks
        where that may excuse the failure, else None. "deciding" is the name of the part
        that the verdict turns on. It is strict JSON: a number that is not finite is
        null.
        """
        stands = standing(result.verdict, self.scale)
        excused = stands == "not reproduced at this scale"
        deciding = result.deciding
        return {
            **self.described(),
            "standing": stands,
            "reason": self.scale if excused else None,
            "deciding": deciding.what if deciding is not None else None,
            **_as_json(vars(result)),
        }


def _as_json(value: Any) -> Any:
    """As strict JSON: a named tuple is an object, a number that is not finite null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return value
