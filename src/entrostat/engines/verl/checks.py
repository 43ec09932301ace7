"""What the plug-in refuses before a run, and what a strategy needs that verl cannot give. ValueError, one line each."""

from typing import Any

import torch
from omegaconf import DictConfig
from verl.utils.config import omega_conf_to_dataclass

from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.entropy import TokenStats
from entrostat.strategies import RolloutSummary, Strategy, strategy_name

NAME = "entrostat"
"""Our loss mode and trainer mode."""
TARGET = f"{EntrostatLossConfig.__module__}.{EntrostatLossConfig.__qualname__}"
BYPASS = "algorithm.rollout_correction.bypass_mode=true"
ENGINES = ("fsdp", "fsdp2")
_LOSS = "actor_rollout_ref.actor.policy_loss"


def checked_options(config: DictConfig) -> EntrostatLossConfig:
    """Our options of a verl configuration whose run can do what they say."""
    actor = config.actor_rollout_ref.actor
    if actor.policy_loss.loss_mode != NAME:
        raise ValueError(
            f"trainer.v1.trainer_mode={NAME} needs {_LOSS}.loss_mode={NAME}, got {actor.policy_loss.loss_mode!r}: "
            "verl would train on that loss and the controller would steer nothing"
        )
    chosen = omega_conf_to_dataclass(actor.policy_loss)
    if not isinstance(chosen, EntrostatLossConfig):
        raise ValueError(
            f"{_LOSS} has no options of {NAME}: set {_LOSS}._target_={TARGET}"
        )
    if actor.strategy not in ENGINES:
        raise ValueError(
            f"actor.strategy={actor.strategy!r} is not supported, only {' and '.join(ENGINES)}: there a loss call sees "
            "one micro-batch of one data-parallel rank; under pipeline stages it is missing who counts the tokens"
        )
    if config.get("distillation") and config.distillation.get("enabled", False):
        raise ValueError(
            f"distillation sets a loss function of its own, and so does {NAME}: switch one of them off"
        )
    check_can_act(config, chosen.make())
    sharded = actor.get("ulysses_sequence_parallel_size", 1) > 1 or (
        actor.fsdp_config.get("ulysses_sequence_parallel_size", 1) > 1
    )
    if chosen.dump_every and sharded:
        raise ValueError(
            f"{_LOSS}.dump_every needs ulysses_sequence_parallel_size=1: ranks would write the same rows"
        )
    return chosen


def check_can_act(config: DictConfig, strategy: Strategy) -> None:
    """Raises where the old policy's entropy is missing and needed, or no ratio ever leaves 1."""
    if strategy.needs_sums:
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} with these options needs sums over the vocabulary, which verl does "
            "not keep: for the thermostat set options.tilt=surprisal"
        )
    if bypasses(config):
        check_without_entropy(strategy, BYPASS, "set it to false")
        return
    actor = config.actor_rollout_ref.actor
    one_update = (
        actor.ppo_epochs == 1
        and config.data.train_batch_size <= actor.ppo_mini_batch_size
    )
    if one_update and not strategy.acts_on_fresh:
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} cannot act: with one update a step every ratio is 1 and no clip "
            f"threshold does anything; set actor.ppo_mini_batch_size ({actor.ppo_mini_batch_size}) under "
            f"data.train_batch_size ({config.data.train_batch_size}), or actor.ppo_epochs over 1"
        )


def bypasses(config: DictConfig) -> bool:
    """Whether verl takes the rollout's log-probabilities for the old policy's, and so makes no pass of its own."""
    correction = config.algorithm.get("rollout_correction", None)
    return bool(correction and correction.get("bypass_mode", False))


def check_without_entropy(strategy: Strategy, where: str, cure: str) -> None:
    """Raises for a strategy that cannot live with a mean entropy estimated from sampled log-probabilities alone."""
    known: dict[str, Any] = {"entropy": 1.0, "active": 1.0, "updates": 1}
    try:
        state = strategy.observe(strategy.init(), RolloutSummary(progress=0.0, **known))
        strategy.bounds(state, TokenStats(torch.full((1, 1), -1.0)))
    except ValueError:
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} needs the old policy's entropy at each token, which is missing "
            f"under {where}: {cure}"
        ) from None
