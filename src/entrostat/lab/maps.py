"""A line of response.jsonl: what other clip thresholds would have done to entropy in one
rollout of a run."""

import math
from typing import Any

from torch import Tensor

from entrostat.engines.meter import TokenSample
from entrostat.response import ResponseBatch, response_map

_STEPS = (0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
LOWS = (*_STEPS, 0.3, 0.4, 0.5, 0.7, 0.85, 1.0)
"""At 1 and over, nothing is clipped: no ratio is under 0."""
HIGHS = (*_STEPS, 0.28, 0.4, 0.5, 0.7, 1.0, math.inf)


def map_line(step: int, tokens: TokenSample) -> dict[str, Any]:
    """The rollout's map over all its updates, as JSON: infinity is the string "inf".

    step
    lows, highs        thresholds of the rows and of the columns
    change             the map: entropy change per trained token, nats per unit step
                       (entrostat.response)
    in_force           {"low", "high"}: means of the half-widths in force over the tokens
                       that they can clip, A < 0 and A > 0, finite ones alone; null where
                       there is none
    total_unclipped    the change had nothing been clipped
    predicted          the change that was kept under the bounds in force, each token's own
    tokens             how many were sampled
    """
    # sums of many small terms of both signs
    weight = tokens.weight.double()
    weighted_change = weight * tokens.change.double()
    total = weight.sum()
    batch = ResponseBatch(
        tokens.logratio, tokens.advantages, tokens.change, tokens.weight
    )
    low = _mean_finite(tokens.low, weight, tokens.advantages < 0)
    high = _mean_finite(tokens.high, weight, tokens.advantages > 0)
    return {
        "step": step,
        "lows": list(map(_plain, LOWS)),
        "highs": list(map(_plain, HIGHS)),
        "change": response_map(batch, LOWS, HIGHS).tolist(),
        "in_force": {"low": low, "high": high},
        "total_unclipped": float(weighted_change.sum() / total),
        "predicted": float(weighted_change[~tokens.clipped].sum() / total),
        "tokens": len(weight),
    }


def _plain(bound: float) -> float | str:
    """A bound as JSON, which has no infinity."""
    return bound if math.isfinite(bound) else str(bound)


def _mean_finite(bounds: Tensor, weight: Tensor, side: Tensor) -> float | None:
    """Weighted mean of the finite bounds on a side, (n,) each; None where there is none."""
    chosen = side & bounds.isfinite()
    if not bool(chosen.any()):
        return None
    weighted = (weight * bounds.double())[chosen]
    return float(weighted.sum() / weight[chosen].sum())
