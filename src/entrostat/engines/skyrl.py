"""Per-token bounds in SkyRL's policy loss registry. The signature is that of skyrl 0.3.0
and 0.4.0. Where your entry point has its `cfg`:

    from skyrl.backends.skyrl_train.utils.ppo_utils import (
        PolicyLossRegistry,
        ppo_policy_loss,
    )
    from entrostat import make_strategy
    from entrostat.engines.skyrl import policy_loss

    loss = policy_loss(ppo_policy_loss, make_strategy("clip-lower"), cfg)
    PolicyLossRegistry.register("entrostat", loss)

and `trainer.algorithm.policy_loss_type=entrostat`. SkyRL's own loss runs, with its two
thresholds set to tensors, so its reduction and its off-policy correction stand. It is one
of two:

    ppo_policy_loss     a clip on the ratio to `old_log_probs`
    dppo_policy_loss    a mask on the change of p since `rollout_logprobs`; a strategy's
                        half-widths on the ratio times p_old are half-widths on p

SkyRL calls the hook per micro-batch in each Ray worker, without step and entropy: nobody
observes there, and a state lives where the caller of `policy_loss` keeps it, in each
worker anew.

Fully asynchronous training takes dppo_policy_loss alone. SkyRL keeps no stale policy
there: it computes `old_log_probs` right before the one update of a batch, so that every
ratio to them is 1. It refuses its own such losses by their names, and cannot know of ours.
"""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.engines.hook import Hook, StateOf
from entrostat.mask import over_probability
from entrostat.strategies import Strategy

PolicyLoss = Callable[..., tuple[Tensor, dict[str, float]]]

_CLIP, _MASK = "ppo_policy_loss", "dppo_policy_loss"


def policy_loss(
    theirs: PolicyLoss,
    strategy: Strategy,
    cfg: Any,
    state: StateOf | None = None,
) -> PolicyLoss:
    """SkyRL's `ppo_policy_loss` or `dppo_policy_loss` under the strategy's bounds.

    Args:
        theirs: SkyRL's loss.
        strategy: one that reads old log-probabilities alone.
        cfg: SkyRL's configuration of the run, a SkyRLTrainConfig.
        state: gives the strategy's state at each call; needed for one that observes.

    Raises ValueError for another loss, for ppo_policy_loss in fully asynchronous
    training, and for a strategy that needs what the hook does not carry; when called,
    for a batch without the sampler's log-probabilities in fully asynchronous training.
    """
    hook = Hook(strategy, state, "SkyRL")
    name = getattr(theirs, "__name__", repr(theirs))
    asynchronous = bool(cfg.trainer.fully_async.enabled)
    _check_loss(name, cfg, asynchronous)
    settings = _masked if name == _MASK else _clipped

    def entrostat_policy_loss(
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        config: Any,
        loss_mask: Tensor | None = None,
        rollout_logprobs: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        if asynchronous and rollout_logprobs is None:
            raise ValueError(
                "SkyRL's batch has no sampler's log-probabilities, so every ratio is 1 "
                "in fully asynchronous training: set "
                "generator.sampling_params.logprobs=1"
            )
        old = old_log_probs
        # as dppo_policy_loss chooses
        if name == _MASK and rollout_logprobs is not None:
            old = rollout_logprobs
        mask = old.isfinite() if loss_mask is None else loss_mask != 0
        bounds = hook.bounds(old, advantages, mask)
        return theirs(
            log_probs,
            old_log_probs,
            advantages,
            settings(config, bounds, old),
            loss_mask,
            rollout_logprobs,
        )

    return entrostat_policy_loss


def _check_loss(name: str, cfg: Any, asynchronous: bool) -> None:
    if name not in (_CLIP, _MASK):
        raise ValueError(
            f"SkyRL's {name} has no window per token: wrap {_CLIP}, or {_MASK}"
        )
    if asynchronous and name == _CLIP:
        raise ValueError(
            f"{_CLIP} takes its ratios to old_log_probs, which SkyRL's fully "
            "asynchronous trainer computes right before the only update, so every ratio "
            f"is 1: wrap {_MASK}, or set trainer.fully_async.enabled=false"
        )
    kind = cfg.trainer.algorithm.dppo.dppo_type
    if name == _MASK and kind != "binary_tv":
        raise ValueError(
            f"trainer.algorithm.dppo.dppo_type {kind!r} masks by a divergence that is no "
            "change of p: set it to binary_tv"
        )


# copies: the workers share their configuration between calls


def _clipped(config: Any, bounds: ClipBounds, old_logprobs: Tensor) -> Any:
    config = copy.copy(config)
    config.policy_loss_type = "regular"
    config.eps_clip_low, config.eps_clip_high = bounds
    return config


def _masked(config: Any, bounds: ClipBounds, old_logprobs: Tensor) -> Any:
    config = copy.copy(config)
    config.dppo = copy.copy(config.dppo)
    changes = over_probability(bounds, old_logprobs)
    config.dppo.delta_low, config.dppo.delta_high = changes
    return config
