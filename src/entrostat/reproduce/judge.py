"""From numbers over seeds to verdicts: Student's t intervals, and where they must lie.

An interval that lies wholly where the claim wants it holds; one that lies wholly where
the claim forbids it fails. One with a part on each side of the bound is undecided, and
so is one where a run has given no number (nan) or where the seeds are fewer than
FEWEST. A claim of several parts holds where all of them hold, and fails where one does.

`limits` say where a number can lie at all; its interval stays there
(`estimate.seed_interval`).
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from entrostat.estimate import REAL, Limits, least_effect, seed_interval
from entrostat.reproduce.claim import FEWEST, Part, Result, Spread, Verdict

SHARE: Limits = (0.0, 1.0)
"""Of shares and probabilities."""
SIGNED: Limits = (-1.0, 1.0)
"""Of differences of shares, and of correlations."""


def above(
    what: str, values: Sequence[float], bound: float = 0.0, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one per seed, has to be over `bound`."""
    return _part(what, values, bound, math.inf, f"> {bound:g}", limits)


def below(
    what: str, values: Sequence[float], bound: float = 0.0, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one per seed, has to be under `bound`."""
    return _part(what, values, -math.inf, bound, f"< {bound:g}", limits)


def within(
    what: str, values: Sequence[float], margin: float, *, limits: Limits = REAL
) -> Part:
    """The mean of `values`, one per seed, has to be within +- `margin` of 0."""
    return _part(what, values, -margin, margin, f"within +-{margin:g}", limits)


def towards(sign: int, what: str, values: Sequence[float]) -> Part:
    """The mean of `values`, one per seed, has to be over 0 (+1) or under 0 (-1)."""
    return above(what, values) if sign > 0 else below(what, values)


def conclude(parts: Iterable[Part], numbers: Mapping[str, Any] | None = None) -> Result:
    """The result of all parts; the first one is the effect, the claim's own number."""
    parts = tuple(parts)
    verdicts = {part.verdict for part in parts}
    verdict: Verdict = "holds"
    if "fails" in verdicts:
        verdict = "fails"
    elif "undecided" in verdicts:
        verdict = "undecided"
    effect = parts[0].interval
    return Result(verdict, effect.value, effect, parts, dict(numbers or {}))


def undecided(result: Result) -> Result:
    """The result of runs that are too few or too short for the criterion.

    It keeps the numbers, and says how many parts have the sign that is wanted.
    """
    right = sum(part.right for part in result.parts)
    count = {
        "parts whose mean is where it is wanted": f"{right} of {len(result.parts)}"
    }
    parts = tuple(part._replace(verdict="undecided") for part in result.parts)
    return dataclasses.replace(
        result, verdict="undecided", parts=parts, numbers=count | result.numbers
    )


def differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """values - others, paired by seed."""
    pairs = zip(values, others, strict=True)
    return [value - other for value, other in pairs]


def spread(values: Sequence[float], *, limits: Limits = REAL) -> Spread:
    """Mean over seeds with its 95% interval.

    The interval is nan under FEWEST seeds; mean and interval are nan where a seed has
    no number.
    """
    points = tuple(map(float, values))
    if not np.isfinite(points).all():
        return Spread(math.nan, math.nan, math.nan, points)
    if len(points) < FEWEST:
        return Spread(float(np.mean(points)), math.nan, math.nan, points)
    return Spread(*seed_interval(points, limits=limits), points)


def spreads(
    what: str, by_arm: Mapping[Any, Sequence[float]], *, limits: Limits = REAL
) -> dict[str, Spread]:
    """The spread of each arm, named `ARM: WHAT`: the page makes tables of such names."""
    named: dict[str, Spread] = {}
    for arm, values in by_arm.items():
        named[f"{arm}: {what}"] = spread(values, limits=limits)
    return named


def _part(
    what: str,
    values: Sequence[float],
    low: float,
    high: float,
    wanted: str,
    limits: Limits,
) -> Part:
    """The comparison of the mean of `values` with the range from `low` to `high`."""
    for bound in (low, high):
        if math.isfinite(bound) and not limits[0] < bound < limits[1]:
            # an interval never reaches a limit, so such a comparison would be decided
            # before the runs
            raise ValueError(
                f"{what}: a bound has to lie inside {limits}, got {bound:g}"
            )
    interval = spread(values, limits=limits)
    verdict: Verdict = "undecided"
    if low < interval.low and interval.high < high:
        verdict = "holds"
    elif interval.high < low or interval.low > high:
        verdict = "fails"
    known = not math.isnan(interval.low)
    return Part(
        what,
        interval,
        wanted,
        right=low < interval.value < high,
        verdict=verdict,
        margin=_margin(interval, low, high) if known else math.nan,
        least=least_effect(interval.points) if known else math.nan,
    )


def _margin(interval: Spread, low: float, high: float) -> float:
    """The mean's distance from the nearer bound, negative on the wrong side of it.

    It is in half-widths of the interval. On the way to the lower bound that is the half
    under the mean, and past it the half over the mean, which is then the nearer one.
    """
    under, over = interval.value - interval.low, interval.high - interval.value
    from_low = _in_half_widths(interval.value - low, under, over)
    from_high = _in_half_widths(high - interval.value, over, under)
    return min(from_low, from_high)


def _in_half_widths(distance: float, inside: float, past: float) -> float:
    """`distance` over the half-width on the bound's side; negative past the bound."""
    half = inside if distance > 0 else past
    if distance == 0 and half == 0:
        return 0.0
    if math.isinf(distance) or half == 0:
        return math.copysign(math.inf, distance)
    return distance / half
