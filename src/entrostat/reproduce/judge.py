"""From numbers over seeds to verdicts: Student's t intervals, and where they have to lie.

An interval that lies wholly where the claim wants it holds; one that lies wholly where the claim forbids it fails; one
that reaches into both is undecided, and so is a part of which a run has given no number (nan). A claim of several parts
holds where all do, and fails where one does.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from entrostat.estimate import Interval, seed_interval
from entrostat.reproduce.claim import Part, Result, Verdict


def above(what: str, values: Sequence[float], bound: float = 0.0) -> Part:
    """The mean of `values`, one a seed, has to be over `bound`."""
    return _part(what, values, bound, math.inf, f"> {bound:g}")


def below(what: str, values: Sequence[float], bound: float = 0.0) -> Part:
    """The mean of `values`, one a seed, has to be under `bound`."""
    return _part(what, values, -math.inf, bound, f"< {bound:g}")


def within(what: str, values: Sequence[float], margin: float) -> Part:
    """The mean of `values`, one a seed, has to be within +- `margin`: as good as none."""
    return _part(what, values, -margin, margin, f"within +-{margin:g}")


def conclude(parts: Iterable[Part], numbers: dict[str, Any] | None = None) -> Result:
    """The result of all parts; the first one is the effect."""
    parts = tuple(parts)
    first = parts[0].interval
    return Result(_together([part.verdict for part in parts]), first.value, first, parts, numbers or {})


def undecided(result: Result) -> Result:
    """The result of runs too few and too short for the criterion: its numbers, and how many parts have its sign."""
    right = sum(part.right for part in result.parts)
    numbers = {"parts whose mean is where it is wanted": f"{right} of {len(result.parts)}", **result.numbers}
    parts = tuple(part._replace(verdict="undecided") for part in result.parts)
    return dataclasses.replace(result, verdict="undecided", parts=parts, numbers=numbers)


def differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """values - others, paired by seed."""
    return [a - b for a, b in zip(values, others, strict=True)]


def spread(values: Sequence[float]) -> Interval:
    """Mean over seeds with its 95% interval; nan where a seed has no number."""
    return seed_interval(values) if np.isfinite(values).all() else Interval(math.nan, math.nan, math.nan)


def _part(what: str, values: Sequence[float], low: float, high: float, wanted: str) -> Part:
    interval = spread(values)
    inside = low < interval.low and interval.high < high
    outside = interval.high < low or interval.low > high
    right = low < interval.value < high
    return Part(what, interval, wanted, right, "holds" if inside else "fails" if outside else "undecided")


def _together(verdicts: list[Verdict]) -> Verdict:
    if "fails" in verdicts:
        return "fails"
    return "undecided" if "undecided" in verdicts else "holds"
