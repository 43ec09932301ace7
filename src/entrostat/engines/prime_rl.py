"""Per-token bounds in prime-rl's custom loss, found by `import_path`. The signature is
that of prime-rl 0.8.0.

    [trainer.loss]
    type = "custom"
    import_path = "entrostat.engines.prime_rl.policy_loss"

    [trainer.loss.kwargs]
    strategy = "clip-lower"
    low = 0.02

The hook sees one sequence: no step, no group, no entropy. The old policy is the one that
sampled it (`inference_logprobs`), several steps ago where the run is asynchronous.
Nothing observes, and no state has a place to live, since keyword arguments come from the
file. So only strategies that remember nothing work; the others are refused at the first
call. It takes the place of prime-rl's own loss, whose KL term and DPPO mask are then off.
"""

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from entrostat.clip import clip_events, clip_loss
from entrostat.engines.hook import Hook
from entrostat.strategies import make_strategy


class LossOutputs(NamedTuple):
    """What prime-rl reads of a loss's result, by name."""

    loss: Tensor
    """Summed over the sequence; prime-rl divides by the tokens of the step."""
    metrics: dict[str, Tensor]


def policy_loss(inputs: Any, strategy: str, **options: Any) -> LossOutputs:
    """PPO's clipped loss of one sequence under the strategy's bounds; `inputs` is
    prime-rl's LossInputs.

    Metrics: shares of the sequence's trained tokens whose gradient the clip has set to
    zero, by side.

    Raises ValueError for an unknown strategy or option, and for a strategy that needs
    what the hook does not carry.
    """
    mask = inputs.loss_mask[None]
    advantages = inputs.advantages[None]
    old = inputs.inference_logprobs[None]
    low, high = _hook(strategy, **options).bounds(old, advantages, mask)
    # masked before the ratio: a token that does not count may hold anything
    logratio = torch.where(mask, inputs.trainer_logprobs[None] - old, 0.0)
    loss = torch.where(mask, clip_loss(logratio, advantages, low=low, high=high), 0.0)
    if inputs.loss_weights is not None:
        loss = torch.where(mask, loss * inputs.loss_weights[None], 0.0)
    events = clip_events(logratio, advantages, low=low, high=high)
    tokens = mask.sum().clamp(min=1)
    shares = {
        "clip_low": (events.low & mask).sum() / tokens,
        "clip_high": (events.high & mask).sum() / tokens,
    }
    return LossOutputs(loss.sum(), shares)


@functools.cache
def _hook(name: str, **options: Any) -> Hook:
    """The strategy's hook, checked once and not at each sequence."""
    return Hook(make_strategy(name, **options), None, "prime-rl")
