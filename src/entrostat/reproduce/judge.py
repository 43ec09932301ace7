"""From numbers over seeds to verdicts: Student's t intervals, and where they have to lie.

An interval that lies wholly where the claim wants it holds; one that lies wholly where the claim forbids it fails; one
that reaches into both is undecided, and so is a part of which a run has given no number (nan), or of fewer seeds than
FEWEST. A claim of several parts holds where all do, and fails where one does.

`limits` say where a number can lie at all, and its interval stays there (`estimate.seed_interval`).
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from entrostat.estimate import REAL, Limits, least_effect, seed_interval
from entrostat.reproduce.claim import Part, Result, Spread, Verdict

SHARE: Limits = (0.0, 1.0)
"""Of shares and probabilities."""
SIGNED: Limits = (-1.0, 1.0)
"""Of differences of shares, and of correlations."""
FEWEST = 3
"""Seeds that an interval and a verdict need: with two, t is 12.7, and the two numbers themselves say more."""


def above(
    what: str, values: Sequence[float], bound: float = 0.0, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one a seed, has to be over `bound`."""
    return _part(what, values, bound, math.inf, f"> {bound:g}", limits)


def below(
    what: str, values: Sequence[float], bound: float = 0.0, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one a seed, has to be under `bound`."""
    return _part(what, values, -math.inf, bound, f"< {bound:g}", limits)


def within(
    what: str, values: Sequence[float], margin: float, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one a seed, has to be within +- `margin`: as good as none."""
    return _part(what, values, -margin, margin, f"within +-{margin:g}", limits)


def conclude(parts: Iterable[Part], numbers: dict[str, Any] | None = None) -> Result:
    """The result of all parts; the first one is the effect, the claim's own number."""
    parts = tuple(parts)
    first = parts[0].interval
    return Result(
        _together([part.verdict for part in parts]),
        first.value,
        first,
        parts,
        numbers or {},
    )


def undecided(result: Result) -> Result:
    """The result of runs too few and too short for the criterion: its numbers, and how many parts have its sign."""
    right = sum(part.right for part in result.parts)
    numbers = {
        "parts whose mean is where it is wanted": f"{right} of {len(result.parts)}",
        **result.numbers,
    }
    parts = tuple(part._replace(verdict="undecided") for part in result.parts)
    return dataclasses.replace(
        result, verdict="undecided", parts=parts, numbers=numbers
    )


def differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """values - others, paired by seed."""
    return [a - b for a, b in zip(values, others, strict=True)]


def spread(values: Sequence[float], *, limits: Limits = REAL) -> Spread:
    """Mean over seeds with its 95% interval: none under FEWEST seeds; nan where a seed has no number."""
    points = tuple(map(float, values))
    if not np.isfinite(points).all():
        return Spread(math.nan, math.nan, math.nan, points)
    if len(points) < FEWEST:
        return Spread(float(np.mean(points)), math.nan, math.nan, points)
    return Spread(*seed_interval(points, limits=limits), points)


def _part(
    what: str,
    values: Sequence[float],
    low: float,
    high: float,
    wanted: str,
    limits: Limits,
) -> Part:
    for bound in (low, high):
        if math.isfinite(bound) and not limits[0] < bound < limits[1]:
            # an interval never reaches a limit, so such a comparison would be decided before the runs
            raise ValueError(
                f"{what}: a bound has to lie inside {limits}, got {bound:g}"
            )
    found = spread(values, limits=limits)
    inside = low < found.low and found.high < high
    outside = found.high < low or found.low > high
    right = low < found.value < high
    verdict: Verdict = "holds" if inside else "fails" if outside else "undecided"
    margin = _margin(found, low, high)
    least = math.nan if math.isnan(found.low) else least_effect(found.points)
    return Part(what, found, wanted, right, verdict, margin, least)


def _margin(found: Spread, low: float, high: float) -> float:
    """The mean's distance from the nearer bound in half-widths of its interval, negative on the wrong side of it."""
    if math.isnan(found.low):
        return math.nan
    down, up = found.value - found.low, found.high - found.value
    return min(
        _times(found.value - low, down, up), _times(high - found.value, up, down)
    )


def _times(way: float, ahead: float, behind: float) -> float:
    """The distance `way`, negative past the bound, in units of the half-width on the bound's side."""
    half = ahead if way > 0 else behind
    if math.isinf(way) or half == 0:
        return math.copysign(math.inf, way) if way else 0.0
    return way / half


def _together(verdicts: list[Verdict]) -> Verdict:
    if "fails" in verdicts:
        return "fails"
    return "undecided" if "undecided" in verdicts else "holds"
