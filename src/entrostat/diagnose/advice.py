"""The pair of clip thresholds that would have held entropy, to first order.

For the ratios that the dump has: other thresholds would have led to others.
"""

from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.attribution import Attribution, InForce
from entrostat.diagnose.causes import estimate, kept, sure
from entrostat.diagnose.grid import HIGHS, LOWS, clipped_sums, predicted
from entrostat.diagnose.sums import Floats
from entrostat.diagnose.tokens import HIGH, KEPT, LOW
from entrostat.estimate import Interval

LEAST_LOW, LEAST_HIGH = 0.01, 0.1
"""The tightest that is advised. A tighter low or high holds entropy by taking most of
what the run learns from."""
_ALLOWED = np.logical_and.outer(
    np.array(LOWS) >= LEAST_LOW, np.array(HIGHS) >= LEAST_HIGH
)


@dataclass(frozen=True)
class Advice:
    """One pair of the grid, against the thresholds in force."""

    low: float
    high: float
    holds: bool
    """Whether the change under it is zero or has turned. If no pair does that, this one
    comes nearest."""
    change: Interval
    """Under the pair, nats per unit step per trained token."""
    difference: Interval
    """That change less the change that was made."""
    sure: float | None
    """Share of resamples of the prompt groups in which the difference goes this way.
    None without an interval."""
    holding: float | None
    """Share of resamples in which the pair holds. None without an interval."""
    clipped: float
    """Share of tokens that the pair clips."""
    clipped_before: float
    """Share of tokens that the thresholds in force clipped."""


def response(attribution: Attribution) -> Floats:
    """The map, (LOWS, HIGHS): nats per unit step per trained token."""
    return predicted(attribution.bins.change.sum(1)) / attribution.tokens


def advise(attribution: Attribution) -> Advice | None:
    """The pair that holds entropy and changes the clipping of the fewest tokens.

    Pairs start at LEAST_LOW and LEAST_HIGH. Where none of them holds, it is the pair
    that comes nearest.

    None where ratios or entropies are not known, where no ratio differs from 1, where
    the loss has no window of the ratio, or where nothing moves, or the sign of the
    change is not sure.
    """
    made = kept(attribution)
    if not _can_advise(attribution, made):
        return None
    sign = np.sign(made.value)
    change = response(attribution)
    clipped_low, clipped_high = clipped_sums(attribution.bins.tokens.sum(1))
    clipped_now = attribution.bins.tokens.sum(0)
    holding = (sign * change <= 0) & _ALLOWED
    if holding.any():
        changed_low = np.abs(clipped_low - clipped_now[LOW])
        changed_high = np.abs(clipped_high - clipped_now[HIGH])
        cost = np.where(holding, np.add.outer(changed_low, changed_high), np.inf)
    else:
        cost = np.where(_ALLOWED, sign * change, np.inf)
    i, j = _least(cost, attribution)

    drawn_pair = predicted(attribution.resampled_bins)[:, i, j]
    drawn = drawn_pair / attribution.resampled_tokens
    drawn_made = attribution.resampled_cells[..., KEPT].sum(1)
    drawn_difference = drawn - drawn_made / attribution.resampled_tokens
    difference = estimate(float(change[i, j]) - made.value, drawn_difference)
    has_interval = np.isfinite(difference.low)
    return Advice(
        low=LOWS[i],
        high=HIGHS[j],
        holds=bool(holding.any()),
        change=estimate(float(change[i, j]), drawn),
        difference=difference,
        sure=float((sign * drawn_difference < 0).mean()) if has_interval else None,
        holding=float((sign * drawn <= 0).mean()) if has_interval else None,
        clipped=float(clipped_low[i] + clipped_high[j]) / attribution.tokens,
        clipped_before=float(clipped_now[LOW] + clipped_now[HIGH]) / attribution.tokens,
    )


def _can_advise(attribution: Attribution, made: Interval) -> bool:
    plan = attribution.plan
    if not (plan.clamped and plan.has("old_logprobs", "entropy")):
        return False
    return made.value != 0 and sure(made) and attribution.fresh < attribution.tokens


def _least(cost: Floats, attribution: Attribution) -> tuple[int, int]:
    """Where `cost` (LOWS, HIGHS) is least.

    Of pairs with equal cost, which clip the same tokens, the one nearest to the pair in
    force.
    """
    low_steps = _grid_steps(LOWS, attribution.in_force["low"], unknown=1.0)
    high_steps = _grid_steps(HIGHS, attribution.in_force["high"], unknown=np.inf)
    steps = np.add.outer(low_steps, high_steps)
    best = np.lexsort((steps.ravel(), cost.ravel()))[0]
    i, j = np.unravel_index(best, cost.shape)
    return int(i), int(j)


def _grid_steps(
    grid: tuple[float, ...], in_force: InForce, *, unknown: float
) -> Floats:
    """Steps of the grid from each threshold to the one in force.

    Where that is not known, to `unknown`: a threshold that clips nothing.
    """
    bound = in_force.mean if in_force.tokens else unknown
    distance = []
    for threshold in grid:
        # inf - inf is NaN
        distance.append(0.0 if threshold == bound else abs(threshold - bound))
    return np.abs(np.arange(len(grid)) - np.argmin(distance)).astype(np.float64)
