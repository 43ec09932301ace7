"""A paper's claim as a check that runs: its criterion stands before the run, its result is numbers and a verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from entrostat.estimate import Interval

if TYPE_CHECKING:
    from entrostat.reproduce.runs import AnyJob, Records

Verdict = Literal["holds", "fails", "undecided"]
Standing = Literal["reproduced", "not reproduced at this scale", "contradicted", "open"]


def standing(verdict: Verdict, scale: str | None) -> Standing:
    """What a verdict says of the paper: a check that fails contradicts it only where nothing of its set-up is missing.

    `scale` is what is missing, `Claim.scale`.
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
                f"--seeds must be at least 2 for an interval over them, got {self.seeds}"
            )

    def repeats(self, full: int, fast: int = 2) -> range:
        """The seeds of a check that asks for `full` of them, or for `fast` when fast."""
        return range(self.seeds or (fast if self.fast else full))


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
    """From the bound to the mean, in half-widths of the interval on that side: over 1 it holds, under -1 it fails."""
    least: float
    """The smallest distance of the true mean from the bound that so many seeds, so far apart, find in 4 of 5 cases
    (`estimate.least_effect`); nan without an interval."""


@dataclass(frozen=True)
class Result:
    """What a check found."""

    verdict: Verdict
    """holds, fails, or undecided where the runs were too few or too short to tell."""
    effect: float
    """The claim's own number; `Claim.measure` says what it is."""
    interval: Interval | Spread | None
    """Of the effect, over seeds."""
    parts: tuple[Part, ...] = ()
    """The comparisons that the verdict is made of; empty where one number is enough."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """All other numbers, by name."""

    @property
    def deciding(self) -> Part | None:
        """The part that the verdict turns on: of those with the claim's own verdict, the furthest on the wrong side.

        Parts have units of their own, so "furthest" is in half-widths of the interval; a part without an interval comes
        last. Where the claim holds it is the first part, the claim's own number.
        """
        if self.verdict == "holds":
            return self.parts[0] if self.parts else None
        blocking = [part for part in self.parts if part.verdict == self.verdict]
        return min(
            blocking,
            key=lambda part: math.inf if math.isnan(part.margin) else part.margin,
            default=None,
        )


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
    jobs: Callable[[Mode, "Records"], Sequence["AnyJob"]] = lambda mode, records: ()
    """The runs that it stands on. It is asked again when they are recorded: later ones may depend on them."""
    fast: str = "the same, with fewer seeds and shorter runs: signs, seldom a verdict"
    """What the fast version shows."""
    scale: str | None = None
    """What of the paper's set-up the lab lacks, where that may be why the claim fails here; None where the claim should
    hold at any scale. No proof: it says where to look."""

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
        """`described` and the result, JSON-able: strict JSON, so a number that is not finite is null.

        "standing" is what the verdict says of the paper, "reason" what the lab lacks where that is its excuse,
        "deciding" the name of the part that the verdict turns on.
        """
        parts = [
            part._asdict() | {"interval": part.interval._asdict()}
            for part in result.parts
        ]
        found = asdict(result) | {
            "interval": result.interval and result.interval._asdict(),
            "parts": parts,
        }
        deciding = result.deciding and result.deciding.what
        return (
            self.described()
            | self._standing(result.verdict)
            | {"deciding": deciding}
            | _finite(found)
        )

    def completed(self, report: dict[str, Any]) -> dict[str, Any]:
        """A report as it was written, perhaps before there were a use, a standing and a deciding part, with these."""
        blocking = [
            part["what"]
            for part in report["parts"]
            if report["verdict"] in ("holds", part["verdict"])
        ]
        deciding = {"deciding": blocking[0] if blocking else None}
        return self.described() | self._standing(report["verdict"]) | deciding | report

    def _standing(self, verdict: Verdict) -> dict[str, Any]:
        found = standing(verdict, self.scale)
        return {
            "standing": found,
            "reason": self.scale if found == "not reproduced at this scale" else None,
        }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
