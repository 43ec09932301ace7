"""The pair of clip thresholds that would have held entropy, to first order.

For the ratios that the dump has: other thresholds would have led to others.
"""

from dataclasses import dataclass

import numpy as np

from entrostat.diagnose.attribution import Attribution, InForce
from entrostat.diagnose.causes import estimate, kept, sure
from entrostat.diagnose.grid import HIGHS, LOWS, clipped_sums, predicted
from entrostat.diagnose.tokens import HIGH, KEPT, LOW
from entrostat.diagnose.types import Floats, Ints
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
    that comes nearest. None where `_can_advise` says no.
    """
    made = kept(attribution)
    if not _can_advise(attribution, made):
        return None
    sign = np.sign(made.value)
    change = response(attribution)
    low_clipped, high_clipped = clipped_sums(attribution.bins.tokens.sum(1))
    clipped = np.add.outer(low_clipped, high_clipped)
    now = attribution.bins.tokens.sum(0)
    holding = (sign * change <= 0) & _ALLOWED
    low_changed = np.abs(low_clipped - now[LOW])
    high_changed = np.abs(high_clipped - now[HIGH])
    cost = np.add.outer(low_changed, high_changed)
    candidates = holding
    if not holding.any():
        cost = sign * change
        candidates = _ALLOWED
    pair = _least(attribution, np.where(candidates, cost, np.inf))
    drawn, drawn_made = _drawn(attribution, pair)
    value = float(change[pair])
    difference = estimate(value - made.value, drawn - drawn_made)
    moves = sign * (drawn - drawn_made) < 0
    holds = sign * drawn <= 0
    has_interval = np.isfinite(difference.low)
    return Advice(
        low=LOWS[pair[0]],
        high=HIGHS[pair[1]],
        holds=bool(holding.any()),
        change=estimate(value, drawn),
        difference=difference,
        sure=float(moves.mean()) if has_interval else None,
        holding=float(holds.mean()) if has_interval else None,
        clipped=float(clipped[pair]) / attribution.tokens,
        clipped_before=float(now[LOW] + now[HIGH]) / attribution.tokens,
    )


def _drawn(attribution: Attribution, pair: tuple[int, int]) -> tuple[Floats, Floats]:
    """The change under a pair of the grid in each resample, and the change made."""
    tokens = attribution.resampled_tokens
    every_pair = predicted(attribution.resampled_bins)
    made = attribution.resampled_cells[..., KEPT].sum(1)
    return every_pair[:, *pair] / tokens, made / tokens


def _can_advise(attribution: Attribution, made: Interval) -> bool:
    """Whether another pair can be told to be better than the one in force.

    Not where ratios or entropies are not known, the loss has no window of the ratio,
    every ratio is 1, nothing moves, or the sign of the change is not sure.
    """
    plan = attribution.plan
    if not (plan.clamped and plan.has("old_logprobs", "entropy")):
        return False
    if attribution.fresh == attribution.tokens:
        return False
    return made.value != 0 and sure(made)


def _least(attribution: Attribution, cost: Floats) -> tuple[int, int]:
    """Where `cost` (LOWS, HIGHS) is least.

    Of pairs with equal cost, which clip the same tokens, the one nearest to the pair in
    force.
    """
    in_force = attribution.in_force
    low_steps = _grid_steps(LOWS, in_force["low"], unknown=1.0)
    high_steps = _grid_steps(HIGHS, in_force["high"], unknown=np.inf)
    steps = np.add.outer(low_steps, high_steps)
    order = np.lexsort((steps.ravel(), cost.ravel()))
    low, high = np.unravel_index(order[0], cost.shape)
    return int(low), int(high)


def _grid_steps(
    grid: tuple[float, ...],
    in_force: InForce,
    *,
    unknown: float,
) -> Ints:
    """Steps of the grid from each threshold to the one in force.

    Where that is not known, to `unknown`: a threshold that clips nothing.
    """
    bound = in_force.mean if in_force.tokens else unknown
    distances = []
    for threshold in grid:
        # inf - inf is NaN
        at_bound = threshold == bound
        distances.append(0.0 if at_bound else abs(threshold - bound))
    nearest = np.argmin(distances)
    return np.abs(np.arange(len(grid)) - nearest)
