"""What other clip thresholds would have done to entropy: the response map of a batch that
was trained on.

A token adds its first-order entropy change, -A r [Q_a - E[Q]]
(entrostat.entropy.entropy_change), unless the clip takes its gradient. Low and high take
it from disjoint sets of tokens, A < 0 and A > 0, so the sum over the batch falls apart:

    predicted(low, high) = sum of change
                           - sum over clip-low events at low
                           - sum over clip-high events at high

and each of the last two is a cumulative sum over tokens in the order of their ratios.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class ResponseBatch(NamedTuple):
    """Trained tokens of one or more updates, flat."""

    logratio: Float[Tensor, " n"]
    """ln pi - ln pi_old of the ratio that is clipped, in nats, under the policy of the
    token's own update."""
    advantages: Float[Tensor, " n"]
    change: Float[Tensor, " n"]
    """entropy_change under the current policy as if nothing were clipped, nats per unit
    step."""
    weight: Float[Tensor, " n"] | None = None
    """How many tokens each stands for, where they are a sample; None: one."""


def response_map(
    batch: ResponseBatch,
    lows: Sequence[float | int],
    highs: Sequence[float | int],
) -> Float[Tensor, "lows highs"]:
    """Entropy change of the batch for every pair of thresholds, to first order: weighted
    mean per token, float64.

    Takes O(n log n + grid). A clip event is one of `entrostat.clip.clip_events`, to the
    last bit: r < 1 - low and A < 0, or r > 1 + high and A > 0; a ratio equal to its bound
    is none; inf clips nothing, either may be negative.

    What it is not: a forecast of a run under other thresholds. The ratios are those that
    the thresholds in force led to; others would have led to other ratios from the next
    update on, and to other tokens from the next rollout on. And it is first order in the
    logits, for a unit step along the loss's gradient: signs and proportions, not sizes.

    Raises:
        ValueError: an empty batch, tensors of unequal length, a NaN anywhere, an infinite
            advantage, change or weight, a weight under 0, or weights that are all 0.

    >>> batch = ResponseBatch(*torch.tensor([[-0.4, 0.4], [-1.0, 1.0], [2.0, -6.0]]))
    >>> response_map(batch, [0.2, 1.0], [0.2, float("inf")])
    tensor([[ 0., -3.],
            [ 1., -2.]], dtype=torch.float64)
    """
    _check_numbers("lows", lows)
    _check_numbers("highs", highs)
    weight = _checked_weight(batch)
    change = weight * batch.change.double()
    ratio = batch.logratio.exp()
    # 1 - low in Python's float64, then rounded to the ratio's dtype: that is how a tensor
    # compares with a float
    floors = ratio.new_tensor([1 - float(low) for low in lows]).double()
    caps = ratio.new_tensor([1 + float(high) for high in highs]).double()
    ratio = ratio.double()
    negative, positive = batch.advantages < 0, batch.advantages > 0
    clipped_low = _sum_under(ratio[negative], change[negative], floors)
    # r > cap is -r < -cap
    clipped_high = _sum_under(-ratio[positive], change[positive], -caps)
    kept = change.sum() - clipped_low[:, None] - clipped_high
    return kept / weight.sum()


def _sum_under(keys: Tensor, values: Tensor, bounds: Tensor) -> Tensor:
    """The sum of the values whose key is under a bound, for each bound."""
    keys, order = keys.sort()
    sums = torch.cat([values.new_zeros(1), values[order].cumsum(0)])
    return sums[torch.searchsorted(keys, bounds)]


def _check_numbers(name: str, bounds: Sequence[float | int]) -> None:
    """Raises ValueError where one is NaN."""
    if any(math.isnan(bound) for bound in bounds):
        raise ValueError(
            f"{name} must be numbers, got {[float(bound) for bound in bounds]}; to "
            "disable a side use low=1.0 or high=inf"
        )


def _checked_weight(batch: ResponseBatch) -> Tensor:
    """The weights in float64, of a batch that has a mean."""
    n = len(batch.logratio)
    if n == 0:
        raise ValueError(
            "the batch has no tokens, so it has no mean: give the trained tokens of at "
            "least one update"
        )
    for name, values in batch._asdict().items():
        if values is None:
            continue
        if values.shape != (n,):
            raise ValueError(
                f"{name} must be flat, one value for each of {n} tokens, got "
                f"{tuple(values.shape)}"
            )
        # a log-ratio may be infinite: a ratio of 0 or inf compares with every bound
        valid = ~values.isnan() if name == "logratio" else values.isfinite()
        if not bool(valid.all()):
            raise ValueError(
                f"{name} holds NaN or inf: leave out the tokens that are not trained on"
            )
    weight = torch.ones_like(batch.change) if batch.weight is None else batch.weight
    if bool((weight < 0).any()) or not bool((weight > 0).any()):
        raise ValueError(
            "weight must be at least 0, and over 0 somewhere: give the number of tokens "
            "each stands for"
        )
    return weight.double()
