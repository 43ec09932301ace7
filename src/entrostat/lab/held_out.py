"""A policy on samples of held-out problems that another policy has drawn: its entropy,
its reward, and how far it is from the other one.

Notation: n runs, b sequences, t completion tokens, v vocabulary
    (entrostat.engines.fast).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from entrostat.engines.fast import logits_on
from entrostat.engines.qwen2 import Model
from entrostat.engines.rollout import Rollout, repeated


class HeldOut(NamedTuple):
    """Samples of held-out problems by the policy before the updates."""

    samples: Rollout
    logprobs: Tensor
    """(1 b t v): of that policy, over the vocabulary."""
    verdicts: Tensor
    """(b,): the verifier's score of each sample."""

    @classmethod
    @torch.no_grad()
    def of(
        cls, policy: Model, samples: Rollout, verdicts: Tensor, temperature: float
    ) -> "HeldOut":
        """Of a policy of one run, which has drawn the samples at this temperature."""
        logprobs = _logprobs(policy, samples, temperature)
        return cls(samples, logprobs, verdicts.to(policy.device))


class OnHeldOut(NamedTuple):
    """A policy on held-out samples of the policy before it."""

    log_entropy: float
    """ln of the mean token entropy, nats."""
    reward: float
    """Mean of the verifier's score, by self-normalised importance weights of whole
    samples."""
    kl: float
    """Of the policy before from this one, nats per token, exact over the vocabulary."""


@torch.no_grad()
def on_held_out(model: Model, held_out: HeldOut, temperature: float) -> list[OnHeldOut]:
    """Every run of `model` on the held-out samples. Sums are float64."""
    samples = repeated(held_out.samples, model.runs)
    mask = samples.mask
    logprobs = _logprobs(model, samples, temperature)
    token_entropy = -(logprobs.exp() * logprobs).sum(dim=-1)
    old_p = held_out.logprobs.exp()
    token_kl = (old_p * (held_out.logprobs - logprobs)).sum(dim=-1)
    sampled = logprobs.gather(-1, samples.completions[..., None])[..., 0]
    logratio = torch.where(mask, sampled - samples.old.logprobs, 0.0)
    # their scale cancels; less the largest none overflows
    logweight = logratio.double().sum(dim=-1)
    weight = (logweight - logweight.amax(dim=1, keepdim=True)).exp()
    reward = (weight * held_out.verdicts).sum(dim=1) / weight.sum(dim=1)
    log_entropy = _mean(token_entropy, mask).log()
    columns = torch.stack([log_entropy, reward, _mean(token_kl, mask)], dim=1)
    return [OnHeldOut(*numbers) for numbers in columns.tolist()]


def _logprobs(model: Model, rollout: Rollout, temperature: float) -> Tensor:
    """Over the vocabulary at each completion token, (n b t v)."""
    return (logits_on(model, rollout) / temperature).log_softmax(dim=-1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the trained tokens of each run, (n,) float64."""
    total = torch.where(mask, values, 0.0).double().sum(dim=(1, 2))
    return total / mask.sum(dim=(1, 2))
