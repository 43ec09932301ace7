"""Per-token bounds in slime's custom loss. The signature is that of slime 0.3.1. In a
module of your own:

    from slime.backends.megatron_utils.loss import policy_loss_function
    from entrostat import make_strategy
    from entrostat.engines.slime import policy_loss

    loss = policy_loss(policy_loss_function, make_strategy("clip-lower"))

and `--loss-type custom_loss --custom-loss-function-path my_module.loss`. slime's own loss
runs, with its two thresholds set to tensors, so its TIS, KL, context parallelism and
reductions stand. It calls the hook per micro-batch on each rank, without step and
without the old policy's entropy (its `entropy_loss` metric is the current policy's):
nobody observes there, and a state lives where the caller of `policy_loss` keeps it, on
each rank anew.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from entrostat.engines.hook import Hook, StateOf
from entrostat.strategies import Strategy

PolicyLoss = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def policy_loss(
    theirs: PolicyLoss,
    strategy: Strategy,
    state: StateOf | None = None,
) -> PolicyLoss:
    """slime's `policy_loss_function` under the strategy's bounds.

    Args:
        theirs: slime's `policy_loss_function`.
        strategy: one that reads old log-probabilities alone.
        state: gives the strategy's state at each call; needed for one that observes.

    Raises ValueError for a strategy that needs what the hook does not carry; and when
    called, for an advantage estimator without a window per token, and for a batch
    without old log-probabilities.
    """
    hook = Hook(strategy, state, "slime")

    def entrostat_policy_loss(
        args: Any,
        batch: dict[str, Any],
        logits: Tensor,
        sum_of_sample_mean: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if args.advantage_estimator in ("gspo", "cispo"):
            raise ValueError(
                f"--advantage-estimator {args.advantage_estimator} has no clip window "
                "per token: use grpo, or leave out the custom loss"
            )
        # slime's loss works on the tokens of all its samples in one row
        old_row = torch.cat(_old_logprobs(args, batch))[None]
        advantages = torch.cat(batch["advantages"])[None]
        mask = old_row.isfinite()
        low, high = hook.bounds(old_row, advantages, mask)
        # a copy: slime's other losses read the same arguments
        args = copy.copy(args)
        args.eps_clip, args.eps_clip_high = low[0], high[0]
        return theirs(args, batch, logits, sum_of_sample_mean)

    return entrostat_policy_loss


def _old_logprobs(args: Any, batch: dict[str, Any]) -> list[Tensor]:
    """Of each sample's tokens, the log-probabilities that slime takes its ratios to."""
    old = batch.get("log_probs")
    if args.use_rollout_logprobs:
        old = batch["rollout_log_probs"]
    if not old:
        raise ValueError(
            "slime's batch has no old log-probabilities, so every ratio is 1: let it "
            "compute them, or set --use-rollout-logprobs"
        )
    return old
