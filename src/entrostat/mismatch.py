"""How far the sampler's log-probabilities lie from the trainer's at the same weights.

Another program samples (vLLM, SGLang), with other kernels and often in another precision.
Where a loss takes its old policy from there, every ratio holds this mismatch beside what
learning has changed. Throughout, ln r = ln p(a) - ln q(a) at tokens a that q drew: p is
the trainer's policy, and q is what the sampler reports. Both are of the same weights, so
r would be 1.

The mean of r - 1, the bias, tells what kind of mismatch it is. Where tokens are drawn from
the very numbers that are reported, sum_a q(a) p(a) / q(a) = 1: its expectation is 0 however
far p lies from q, and token by token, so that its standard error needs no groups. It is
beyond a few errors where the numbers are not a policy's own:

    above 0, about rms^2 / 2    one of the programs rounds its numbers, as bf16 does: noise
                                of variance s^2 in ln r makes the mean of r e^(s^2 / 2)
    under 0                     the sampler leaves out tokens (top-p, top-k, min-p) and
                                reports what it drew from: the mass that it leaves out

Not seen: a sampler that leaves out tokens and reports its numbers before that.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mismatch_sums(
    logratio: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    clipped: Bool[Tensor, "b t"] | None = None,
) -> Float[Tensor, " 6"]:
    """Over the tokens of `mask`: their number, and sums of |ln r|, (ln r)^2, r - 1,
    (r - 1)^2 and `clipped`, in float64. Sums of several batches and ranks add up.

    Args:
        logratio: the trainer's log-probabilities less the sampler's, nats.
        mask: tokens that were sampled by the weights at hand; others may hold anything.
        clipped: what a clip takes out for its ratio. None: not known, a sum of NaN.
    """
    # where, not a product: a masked token may hold NaN
    logratio = torch.where(mask, logratio.detach().double(), 0.0)
    # expm1: next to 1 the difference of two float32 is rounding alone
    excess = torch.expm1(logratio)
    taken = torch.full_like(logratio, math.nan)
    if clipped is not None:
        taken = clipped.double()
    columns = [mask.double(), logratio.abs(), logratio.square(), excess]
    columns += [excess.square(), torch.where(mask, taken, 0.0)]
    return torch.stack(columns).sum((1, 2))


def mismatch(sums: Float[Tensor, " 6"]) -> dict[str, float]:
    """Means from `mismatch_sums`; empty without a token.

    Keys: mismatch (mean |ln r|, nats), mismatch_rms (root mean square of ln r, nats),
    mismatch_bias (mean of r - 1) and mismatch_bias_error (its standard error),
    mismatch_clipped (share of the tokens that the clip takes out for their mismatch;
    missing where not known).

    >>> logratio = torch.tensor([[0.1, -0.1]])
    >>> found = mismatch(mismatch_sums(logratio, torch.tensor([[True, True]])))
    >>> {name: round(value, 4) for name, value in found.items()}
    {'mismatch': 0.1, 'mismatch_rms': 0.1, 'mismatch_bias': 0.005, 'mismatch_bias_error': 0.0709}
    """
    tokens, *totals = sums.tolist()
    if not tokens:
        return {}
    size, square, bias, bias_square, clipped = (total / tokens for total in totals)
    found = {
        "mismatch": size,
        "mismatch_rms": math.sqrt(square),
        "mismatch_bias": bias,
        "mismatch_bias_error": math.sqrt(bias_square / tokens),
    }
    if not math.isnan(clipped):
        found["mismatch_clipped"] = clipped
    return found
