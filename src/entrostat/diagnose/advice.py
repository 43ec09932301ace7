"""The pair of clip thresholds that would have held entropy, to first order, for the ratios that a dump holds."""

from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.attribution import CELLS, Attribution
from entrostat.diagnose.causes import estimate, kept, sure
from entrostat.diagnose.grid import HIGHS, LOWS, clipped_sums, predicted
from entrostat.diagnose.sums import Floats
from entrostat.diagnose.tokens import HIGH, LOW
from entrostat.estimate import Interval

LEAST_LOW, LEAST_HIGH = 0.01, 0.1
"""The tightest that is advised. A tighter low or high holds entropy by taking most of what the run learns from."""


@dataclass(frozen=True)
class Advice:
    """One pair of the grid, against the thresholds in force."""

    low: float
    high: float
    holds: bool
    """Whether the change under it is zero or has turned; otherwise it is the pair that comes nearest."""
    change: Interval
    """Under the pair, nats per unit step per trained token."""
    difference: Interval
    """Less the change that was made."""
    sure: float | None
    """Share of resamples of the prompt groups in which the difference goes this way."""
    holding: float | None
    """Share of resamples in which the pair holds."""
    clipped: float
    """Share of tokens that the pair clips."""
    clipped_before: float


def response(found: Attribution) -> Floats:
    """The map, (LOWS, HIGHS): nats per unit step per trained token."""
    return predicted(found.bins.change.sum(1)) / found.tokens


def advise(found: Attribution) -> Advice | None:
    """Of the pairs that hold entropy, the one that changes the clipping of the fewest tokens; or the nearest to it.

    Pairs from LEAST_LOW and LEAST_HIGH on.

    None where ratios or entropies are not known, where no ratio differs from 1, where the loss has no window of the
    ratio, or where nothing moves, or not for sure one way.
    """
    now, known = (
        kept(found),
        found.plan.clamped and found.plan.has("old_logprobs", "entropy"),
    )
    if not (known and now.value and sure(now)) or found.fresh == found.tokens:
        return None
    change, sign = response(found), np.sign(now.value)
    low, high = clipped_sums(found.bins.tokens.sum(1))
    before = found.bins.tokens.sum(0)
    cost = np.abs(low - before[LOW])[:, None] + np.abs(high - before[HIGH])[None]
    allowed = (np.array(LOWS) >= LEAST_LOW)[:, None] & (np.array(HIGHS) >= LEAST_HIGH)[
        None
    ]
    holds = (sign * change <= 0) & allowed
    best = (
        np.where(holds, cost, np.inf)
        if holds.any()
        else np.where(allowed, sign * change, np.inf)
    )
    # thresholds that clip the same tokens: the ones nearest to those in force
    order = np.lexsort((_distance(found).ravel(), best.ravel()))
    i, j = np.unravel_index(order[0], best.shape)
    tokens = np.where(found.resampled[:, 0] > 0, found.resampled[:, 0], np.nan)
    drawn = predicted(found.resampled[:, 1 + CELLS :])[:, i, j] / tokens
    made = found.resampled[:, 1 : 1 + CELLS : 3].sum(1) / tokens
    difference = estimate(float(change[i, j]) - now.value, drawn - made)
    return Advice(
        low=LOWS[i],
        high=HIGHS[j],
        holds=bool(holds.any()),
        change=estimate(float(change[i, j]), drawn),
        difference=difference,
        sure=_share(sign * (drawn - made) < 0, difference),
        holding=_share(sign * drawn <= 0, difference),
        clipped=float(low[i] + high[j]) / found.tokens,
        clipped_before=float(before[LOW] + before[HIGH]) / found.tokens,
    )


def _distance(found: Attribution) -> Floats:
    """How many steps of the grid each pair is from the one in force; from none at all where that is not known."""
    steps = []
    for grid, side, none in ((LOWS, "low", 1.0), (HIGHS, "high", np.inf)):
        bound = found.in_force[side]
        at = (
            (bound.total / bound.finite if bound.finite else np.inf)
            if bound.tokens
            else none
        )
        nearest = int(np.argmin([0.0 if x == at else abs(x - at) for x in grid]))
        steps.append(np.abs(np.arange(len(grid)) - nearest))
    return (steps[0][:, None] + steps[1][None]).astype(np.float64)


def _share(true: np.ndarray, of: Interval) -> float | None:
    return float(true.mean()) if np.isfinite(of.low) else None
