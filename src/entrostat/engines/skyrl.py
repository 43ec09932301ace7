"""Per-token bounds in SkyRL's policy loss registry. The signature is that of skyrl 0.3.0.

    from skyrl.backends.skyrl_train.utils.ppo_utils import (
        PolicyLossRegistry,
        ppo_policy_loss,
    )
    from entrostat import make_strategy
    from entrostat.engines.skyrl import policy_loss

    loss = policy_loss(ppo_policy_loss, make_strategy("clip-lower"))
    PolicyLossRegistry.register("entrostat", loss)

and `trainer.algorithm.policy_loss_type=entrostat`. SkyRL's own loss runs, with its two
thresholds set to tensors, so its reduction and its off-policy correction stand. It calls
the hook per micro-batch in each Ray worker, without step and entropy: nobody observes
there, and a state lives where the caller of `policy_loss` keeps it, in each worker anew.
"""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from entrostat.engines.hook import Hook, StateOf
from entrostat.strategies import Strategy

PolicyLoss = Callable[..., tuple[Tensor, dict[str, float]]]


def policy_loss(
    theirs: PolicyLoss,
    strategy: Strategy,
    state: StateOf | None = None,
) -> PolicyLoss:
    """SkyRL's `ppo_policy_loss` under the strategy's bounds.

    Args:
        theirs: SkyRL's `ppo_policy_loss`.
        strategy: one that reads old log-probabilities alone.
        state: gives the strategy's state at each call; needed for one that observes.

    Raises ValueError for a strategy that needs what the hook does not carry.
    """
    hook = Hook(strategy, state, "SkyRL")

    def entrostat_policy_loss(
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        config: Any,
        loss_mask: Tensor | None = None,
        rollout_logprobs: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        mask = old_log_probs.isfinite() if loss_mask is None else loss_mask != 0
        bounds = hook.bounds(old_log_probs, advantages, mask)
        # a copy: the workers share theirs between calls
        config = copy.copy(config)
        config.policy_loss_type = "regular"
        config.eps_clip_low, config.eps_clip_high = bounds
        return theirs(
            log_probs, old_log_probs, advantages, config, loss_mask, rollout_logprobs
        )

    return entrostat_policy_loss
