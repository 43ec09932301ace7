"""The first-order change as a sum of causes: what pushed, and what the clip took back.

    change kept = sum over regions of their change as if nothing were clipped
                  - sum over clip events of their change

Clip-low acts on A < 0 (E3 and E4) and clip-high on A > 0 (E1 and E2). On A < 0
clip-high is a dual clip: verl's clip_ratio_c or TRL's delta. Beside the four regions
and the clip effects there is one rest: tokens at the edge between likely and unlikely,
which belong to no region but may have a change.
"""

import math
from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.tokens import EVENTS, HIGH, KEPT, LOW
from entrostat.diagnose.types import Floats
from entrostat.entropy import Region
from entrostat.estimate import Interval

LEVEL = 0.95
_FEWEST_RESAMPLES = 20
"""That an interval of LEVEL is read from: with fewer its ends are the extremes."""
_REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
_CLIPPED = tuple((region, event) for region in _REGIONS for event in (LOW, HIGH))
KEYS = (
    *(region.name for region in _REGIONS),
    *(f"{region.name} {EVENTS[event]}" for region, event in _CLIPPED),
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
    """Of all causes with the sign of the total. None for a cause of the other sign, and
    where the sign of the total is not sure."""


def kept(attribution: Attribution) -> Interval:
    """The change that was made: that of tokens whose gradient the clip left."""
    total = attribution.regions.kept.sum()
    drawn = attribution.resampled_cells[..., KEPT].sum(1)
    return _per_token(attribution, total, drawn)


def unclipped(attribution: Attribution) -> Interval:
    """The change had nothing been clipped, for the same ratios."""
    total = attribution.regions.change.sum()
    drawn = attribution.resampled_cells.sum((1, 2))
    return _per_token(attribution, total, drawn)


def sure(change: Interval) -> bool:
    """Whether the sign of a change is known. Without an interval, it is taken so."""
    if math.isnan(change.low):
        return True
    return change.low > 0 or change.high < 0


def causes(attribution: Attribution) -> list[Cause]:
    """The terms in the order of KEYS. They add up to `kept`."""
    values = terms(attribution.regions.change) / attribution.tokens
    drawn = terms(attribution.resampled_cells)
    drawn /= attribution.resampled_tokens[:, None]
    sign = np.sign(values.sum())
    if not sure(kept(attribution)):
        sign = 0
    # what each cause adds in the direction of the total
    along = np.maximum(sign * values, 0)
    along_drawn = np.maximum(sign * drawn, 0)
    gross = along.sum()
    gross_drawn = along_drawn.sum(1, keepdims=True)
    # a resample without any such cause has no shares
    gross_drawn[gross_drawn == 0] = np.nan
    shares_drawn = along_drawn / gross_drawn
    result = []
    for i, key in enumerate(KEYS):
        change = estimate(values[i], drawn[:, i])
        share = None
        if along[i] > 0:
            share = estimate(along[i] / gross, shares_drawn[:, i])
        result.append(Cause(key, change, share))
    return result


def terms(cells: Floats) -> Floats:
    """The terms, (..., len(KEYS)), of change by region and event.

    Args:
        cells: (..., regions, events).
    """
    known = []
    for region in _REGIONS:
        known.append(cells[..., region, :].sum(-1))
    for region, event in _CLIPPED:
        known.append(-cells[..., region, event])
    explained = np.stack(known, axis=-1).sum(-1)
    rest = cells[..., KEPT].sum(-1) - explained
    # what rounding leaves is no cause
    gross = np.abs(cells).sum((-1, -2))
    rest = np.where(np.abs(rest) < 1e-9 * gross, 0.0, rest)
    return np.stack([*known, rest], axis=-1)


def estimate(value: float, drawn: Floats) -> Interval:
    """The value with the percentile interval of its resamples.

    The ends are NaN where there are too few resamples, or all are alike.
    """
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < _FEWEST_RESAMPLES or np.ptp(drawn) == 0:
        return Interval(float(value), math.nan, math.nan)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def _per_token(
    attribution: Attribution,
    total: float,
    drawn: Floats,
) -> Interval:
    """A total and its resamples, each divided by its own number of tokens."""
    return estimate(total / attribution.tokens, drawn / attribution.resampled_tokens)
