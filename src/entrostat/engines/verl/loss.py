"""On the ranks, once per micro-batch: verl's own vanilla or gspo loss, with the strategy's
bounds for its clip ratios.

verl calls `ControlledLoss` where it would call its ppo_loss, which it wraps: aggregation,
rollout correction, KL and entropy terms are verl's. Its policy loss, in turn, is verl's
compute_policy_loss_vanilla, dual clip included, or compute_policy_loss_gspo, which take
tensors where they expect the two clip ratios.
"""

import functools
import json
import math
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.core_algos import (
    compute_policy_loss_gspo,
    compute_policy_loss_vanilla,
)
from verl.utils import tensordict_utils as tu
from verl.utils import transferqueue_utils
from verl.utils.metric import AggregationType, Metric
from verl.workers.config import ActorConfig
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from entrostat.clip import Bound
from entrostat.engines.verl.checks import check_without_our_trainer
from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.engines.verl.dump import StepDump
from entrostat.engines.verl.metrics import token_sums
from entrostat.engines.verl.settings import NAME, TARGET, TARGET_KEY, TRAINER_MODE
from entrostat.engines.window import at_level, uncrossed
from entrostat.entropy import TokenStats
from entrostat.strategies import NoState, Strategy, state_from_json
from entrostat.strategies.check import CheckedBounds
from entrostat.trainers import VERL_TRAINERS

KEY = "entrostat"
"""What the driver tells of a step, as JSON: under this key of a batch's extra_info. And
the attribute of a loss's configuration under which it finds its MicroBatch."""


class With:
    """A configuration of verl's with some attributes changed: verl's are frozen, and
    shared by all micro-batches."""

    def __init__(self, config: Any, **changed: Any):
        self.__dict__.update(changed, _config=config)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    # for isinstance: verl's gspo asserts that it is given an ActorConfig
    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._config.__class__

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


class MicroBatch:
    """What bounds and metrics of one micro-batch need beside the arguments of a policy
    loss, and what came of them: `bounds` and `sums`."""

    def __init__(
        self,
        bounds_of: CheckedBounds,
        state: Any,
        old_entropy: Tensor | None,
        entropy: Tensor | None,
    ):
        self.bounds_of = bounds_of
        self.state = state
        self.old_entropy = old_entropy
        self.entropy = entropy
        self.sums: dict[str, float] = {}
        self.bounds: tuple[Bound, Bound] = (0.0, 0.0)

    def set_bounds(
        self,
        old_logprobs: Tensor,
        advantages: Tensor,
        mask: Tensor,
    ) -> tuple[Bound, Bound]:
        """The half-widths for verl's clamp: numbers where they are the same for all
        tokens, else (b t)."""
        old = TokenStats(old_logprobs, self.old_entropy)
        if not self.bounds_of.per_token:
            if self.bounds_of.is_new(self.state):
                # all tokens are looked at, whether they are alike
                self.bounds_of(self.state, old, mask)
            low, high = self._constant_bounds(old_logprobs)
            # crossed bounds depend on the sign of A, so they differ by token after all
            if low + high >= 0:
                self.bounds = low, high
                return self.bounds
        self.bounds = uncrossed(self.bounds_of(self.state, old, mask), advantages, mask)
        return self.bounds

    def _constant_bounds(self, old_logprobs: Tensor) -> tuple[float, float]:
        """The bounds of the first token, which are those of all."""
        entropy = None if self.old_entropy is None else self.old_entropy[:1, :1]
        first = TokenStats(old_logprobs[:1, :1], entropy)
        bounds = self.bounds_of.strategy.bounds(self.state, first)
        return bounds.low.item(), bounds.high.item()


def policy_loss(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """verl's policy loss `entrostat`: (scalar loss, metrics) from (b t) tensors, as
    verl's registry wants it.

    Raises ValueError outside entrostat's trainers for a strategy that has a state or
    needs an entropy.
    """
    micro = config.get(KEY) or _without_trainer(config)
    mask = response_mask.bool()
    low, high = micro.set_bounds(old_log_prob, advantages, mask)
    windowed: Any = With(config, clip_ratio_low=low, clip_ratio_high=high)
    level = config.policy_loss.importance_sampling_level
    by_sequence = level == "sequence"
    theirs = compute_policy_loss_gspo if by_sequence else compute_policy_loss_vanilla
    loss, metrics = theirs(
        old_log_prob,
        log_prob,
        advantages,
        response_mask,
        loss_agg_mode,
        windowed,
        rollout_is_weights,
    )
    stats = TokenStats(log_prob.detach(), micro.entropy)
    clipped_from = old_log_prob
    if by_sequence:
        logratio = stats.logprobs - old_log_prob
        clipped_from = stats.logprobs - at_level(logratio, mask, level)
    micro.sums = token_sums(
        stats,
        clipped_from,
        advantages,
        mask,
        low=low,
        high=high,
        dual=math.inf if by_sequence else config.get("clip_ratio_c", 3.0),
    )
    return loss, metrics


class ControlledLoss:
    """verl's loss function of the actor, as its workers call it once per
    micro-batch."""

    def __init__(self, config: ActorConfig, dump: StepDump | None):
        assert isinstance(config.policy_loss, EntrostatLossConfig)
        self.config = config
        self.bounds_of = CheckedBounds(config.policy_loss.make())
        self.dump = dump

    def __call__(
        self,
        model_output: Any,
        data: TensorDict,
        dp_group: Any = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        told = json.loads(str(tu.get_non_tensor_data(data, KEY, None)))
        micro = self._micro_batch(told["state"], model_output, data)
        config: Any = With(self.config, **{KEY: micro})
        loss, metrics = ppo_loss(
            config=config, model_output=model_output, data=data, dp_group=dp_group
        )
        for name, total in micro.sums.items():
            metrics[name] = Metric(AggregationType.SUM, total)
        if self.dump is not None and told["dump"]:
            self.dump.add(
                told,
                data,
                dp_group,
                no_padding_2_padding(model_output["log_probs"].detach(), data),
                micro.entropy,
                micro.old_entropy,
                micro.bounds,
            )
        return loss, metrics

    # to detach a nested tensor costs more than the rest of this
    @torch.no_grad()
    def _micro_batch(
        self,
        state: dict[str, Any],
        model_output: Any,
        data: TensorDict,
    ) -> MicroBatch:
        old_entropy = entropy = None
        if "entropy" in data:
            old_entropy = padded(data, "entropy").float()
        if model_output.get("entropy") is not None:
            entropy = no_padding_2_padding(model_output["entropy"], data).float()
        state = state_from_json(self.bounds_of.strategy, state)
        return MicroBatch(self.bounds_of, state, old_entropy, entropy)


def padded(data: TensorDict, name: str) -> Tensor:
    """A column of a micro-batch, (b t)."""
    return data.select(name).to_padded_tensor()[name]


def _without_trainer(config: Any) -> MicroBatch:
    """Where another trainer than ours calls the loss: for strategies that need none. The
    driver has refused the others already, where it calls verl's validate_config."""
    options = config.policy_loss
    if not isinstance(options, EntrostatLossConfig):
        raise ValueError(f"loss_mode={NAME} has no options: set {TARGET_KEY}={TARGET}")
    if transferqueue_utils.TQ_INITIALIZED:
        names = ", ".join(
            f"{ours} for {verls}" for ours, verls in VERL_TRAINERS.items()
        )
        raise ValueError(
            f"loss_mode={NAME} runs under none of verl's own v1 trainers: set "
            f"{TRAINER_MODE} to entrostat's ({names})"
        )
    check_without_our_trainer(options, "this trainer")
    return MicroBatch(_checked(options.make()), NoState(), None, None)


@functools.cache
def _checked(strategy: Strategy) -> CheckedBounds:
    """The strategy's bounds, looked at once and not at each micro-batch."""
    return CheckedBounds(strategy)
