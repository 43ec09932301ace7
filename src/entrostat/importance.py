"""The present policy's mean entropy from tokens that another policy has sampled, where no
pass gives entropies over the vocabulary.

At a state with present policy p and sampler q, H(p) = E_{a ~ q}[w (-ln p_a)] with
w = p_a / q_a, and E_{a ~ q}[w] = 1. So over the sampled tokens

    H = sum w (-ln p) / sum w

estimates the mean token entropy of p in the states that q has reached. Dividing by the
sum of weights, and not by the number of tokens, takes their common noise out (Hajek's
estimator; Owen, Monte Carlo theory, methods and examples, ch. 9). The states stay those
of q: nothing reweighs prefixes, whose weights are products over a whole text.
MAI-Thinking-1 (June 2026) feeds its controller by an importance-weighted estimate too; its
form is not published.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class EntropyEstimate(NamedTuple):
    """In nats."""

    entropy: float
    """NaN where no token is trained on."""
    error: float | None
    """Standard error over groups; None with fewer than two."""


def importance_entropy(
    logprobs: Float[Tensor, "b t"],
    sampler_logprobs: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    groups: Int[Tensor, " b"],
) -> EntropyEstimate:
    """The mean token entropy of the present policy, from the sampler's tokens.

    Args:
        logprobs: ln p of the sampled tokens under the present policy, nats.
        sampler_logprobs: ln q of the same under the policy that sampled them.
        mask: True for trained tokens; the others may hold anything.
        groups: of each sequence the number of its prompt, from 0 on: tokens of one prompt
            are alike, so the error is over prompts.

    >>> p, q = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    >>> found = importance_entropy(p, q, torch.tensor([[True, True]]), torch.tensor([0]))
    >>> round(found.entropy, 4)  # one token of each kind, as q would draw: exactly H(p)
    0.5004
    """
    logratio = torch.where(mask, logprobs - sampler_logprobs, -torch.inf)
    weights = logratio.detach().double().exp()
    surprisal = torch.where(mask, -logprobs.detach().double(), 0.0)
    count = int(groups.max()) + 1 if len(groups) else 0
    by_group = torch.zeros(2, count, dtype=torch.float64, device=weights.device)
    sums = torch.stack([weights.sum(1), (weights * surprisal).sum(1)])
    total, weighted = by_group.index_add_(1, groups, sums)
    return ratio_of_sums(weighted, total)


def ratio_of_sums(
    numerators: Float[Tensor, " g"], denominators: Float[Tensor, " g"]
) -> EntropyEstimate:
    """sum of numerators / sum of denominators over independent groups, and its standard
    error: the ratio estimator of Cochran, Sampling Techniques, ch. 6."""
    total = denominators.sum()
    mean = numerators.sum() / total
    number = int((denominators > 0).sum())
    if number < 2:
        return EntropyEstimate(float(mean), None)
    residual = numerators - mean * denominators
    variance = number / (number - 1) * residual.square().sum()
    return EntropyEstimate(float(mean), float(variance.sqrt() / total))
