"""The first-order change as a sum of causes: what pushed on each region did, and what each side of the clip took back.

    change kept = sum over regions of the change as if nothing were clipped - sum over clip events of their change

Clip-low acts on A < 0 (E3 and E4) and clip-high on A > 0 (E1 and E2); on A < 0 clip-high is a dual clip, verl's
clip_ratio_c or TRL's delta. Beside the four regions and the clip effects there is one rest: tokens at the edge between
likely and unlikely, which belong to no region but may have a change.
"""

import math
from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.attribution import CELLS, Attribution
from entrostat.diagnose.sums import Floats
from entrostat.diagnose.tokens import EVENTS, HIGH, LOW
from entrostat.entropy import Region
from entrostat.estimate import Interval

LEVEL = 0.95
_REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
_CLIPPED = tuple((region, event) for region in _REGIONS for event in (LOW, HIGH))
KEYS = (
    *(r.name for r in _REGIONS),
    *(f"{r.name} {EVENTS[e]}" for r, e in _CLIPPED),
    "rest",
)


@dataclass(frozen=True)
class Cause:
    """One term of the sum."""

    key: str
    """One of KEYS."""
    change: Interval
    """Nats per unit step per trained token."""
    share: Interval | None
    """Of all causes with the sign of the total, where it has that sign and that sign is sure."""


def kept(found: Attribution) -> Interval:
    """The change that was made: that of tokens whose gradient the clip left."""
    return estimate(
        found.regions.change[:, 0].sum() / found.tokens,
        _cells(found)[..., 0].sum(1) / _tokens(found),
    )


def unclipped(found: Attribution) -> Interval:
    """The change had nothing been clipped, for the same ratios."""
    return estimate(
        found.regions.change.sum() / found.tokens,
        _cells(found).sum((1, 2)) / _tokens(found),
    )


def sure(change: Interval) -> bool:
    """Whether the sign of a change is known, as far as there is an interval to say so."""
    return math.isnan(change.low) or change.low > 0 or change.high < 0


def causes(found: Attribution) -> list[Cause]:
    """The terms in the order of KEYS. They add up to `kept`."""
    points = terms(found.regions.change[None])[0] / found.tokens
    drawn = terms(_cells(found)) / _tokens(found)[:, None]
    sign = np.sign(points.sum()) if sure(kept(found)) else 0
    gross = np.maximum(sign * points, 0).sum()
    gross_drawn = np.maximum(sign * drawn, 0).sum(1)
    out = []
    for i, key in enumerate(KEYS):
        share = None
        if sign * points[i] > 0:
            shares = np.maximum(sign * drawn[:, i], 0) / np.where(
                gross_drawn > 0, gross_drawn, np.nan
            )
            share = estimate(sign * points[i] / gross, shares)
        out.append(Cause(key, estimate(points[i], drawn[:, i]), share))
    return out


def terms(cells: Floats) -> Floats:
    """The terms, (..., len(KEYS)), of change by region and event, (..., regions, events)."""
    pushed = [cells[..., region, :].sum(-1) for region in _REGIONS]
    taken = [-cells[..., region, event] for region, event in _CLIPPED]
    known = np.stack([*pushed, *taken], axis=-1)
    rest = cells[..., 0].sum(-1) - known.sum(-1)
    # what is left of rounding is no cause
    rest = np.where(np.abs(rest) < 1e-9 * np.abs(cells).sum((-1, -2)), 0.0, rest)
    return np.concatenate([known, rest[..., None]], axis=-1)


def estimate(value: float, drawn: Floats) -> Interval:
    """The value with the percentile interval of its resamples; NaN ends where there are not enough."""
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 20 or np.ptp(drawn) == 0:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))


def _cells(found: Attribution) -> Floats:
    cells = found.resampled[:, 1 : 1 + CELLS]
    return cells.reshape(len(cells), len(Region), len(EVENTS))


def _tokens(found: Attribution) -> Floats:
    tokens = found.resampled[:, 0]
    return np.where(tokens > 0, tokens, np.nan)
