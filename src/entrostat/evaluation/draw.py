"""One token per sequence, from its logits and one uniform number.

Temperature, then top-k, then top-p, as transformers has them, and inversion of the
cumulative distribution.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entrostat.evaluation.presets import Sampling


def draw(
    logits: Float[Tensor, "b v"], uniform: Float[Tensor, " b"], sampling: Sampling
) -> Int[Tensor, " b"]:
    """The token of each sequence whose share of the unit interval holds its number.

    It takes one number per token, where a draw by exponential noise takes one for each
    entry of the vocabulary: so a sample's random numbers can be its problem's own. Sums
    are in float64: in float32 the tail of a large vocabulary would be lost. Where
    logits tie at the k-th place one of them is kept, where transformers keeps all.

    Args:
        logits: unscaled; -inf has probability 0.
        uniform: in [0, 1), float64.
    """
    scaled = logits.float() / sampling.temperature
    # the token of each column, once columns are no longer in the vocabulary's order
    ids = None
    if 0 < sampling.top_k < scaled.size(-1):
        scaled, ids = scaled.topk(sampling.top_k, dim=-1)
    elif sampling.top_p < 1:
        scaled, ids = scaled.sort(dim=-1, descending=True)
    probs = scaled.softmax(dim=-1).double()
    if sampling.top_p < 1:
        before = probs.cumsum(dim=-1) - probs
        # the likeliest token stays in any case: before it is no mass
        probs = torch.where(before < sampling.top_p, probs, 0.0)
    ends = probs.cumsum(dim=-1)
    # what is left need not sum to 1, so the number is scaled to its sum
    targets = uniform * ends[:, -1]
    columns = torch.searchsorted(ends, targets[:, None], right=True)
    # rounding may put a number on the very end
    columns = columns.clamp(max=ends.size(-1) - 1)
    tokens = columns if ids is None else ids.gather(1, columns)
    return tokens.squeeze(1)
