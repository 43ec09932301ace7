"""What the plug-in refuses before a run, and what a strategy needs that verl cannot give.
ValueError, one line each."""

from omegaconf import DictConfig
from verl.utils.config import omega_conf_to_dataclass

from entrostat.engines.controller import check_reads
from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.strategies import Reads, Strategy, strategy_name
from entrostat.trainers import ratios_can_move, verl_updates_per_rollout

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
            f"trainer.v1.trainer_mode={NAME} needs {_LOSS}.loss_mode={NAME}, got "
            f"{actor.policy_loss.loss_mode!r}: verl would train on that loss and the "
            "controller would steer nothing"
        )
    options = omega_conf_to_dataclass(actor.policy_loss)
    if not isinstance(options, EntrostatLossConfig):
        raise ValueError(
            f"{_LOSS} has no options of {NAME}: set {_LOSS}._target_={TARGET}"
        )
    if actor.strategy not in ENGINES:
        raise ValueError(
            f"actor.strategy={actor.strategy!r} is not supported, only "
            f"{' and '.join(ENGINES)}: there a loss call sees one micro-batch of one "
            "data-parallel rank; under pipeline stages it is missing who counts the "
            "tokens"
        )
    if config.get("distillation") and config.distillation.get("enabled", False):
        raise ValueError(
            f"distillation sets a loss function of its own, and so does {NAME}: switch "
            "one of them off"
        )
    check_can_act(config, options.make())
    if options.dump_every and _splits_sequences(actor):
        raise ValueError(
            f"{_LOSS}.dump_every needs ulysses_sequence_parallel_size=1: ranks would "
            "write the same rows"
        )
    return options


def check_can_act(config: DictConfig, strategy: Strategy) -> None:
    """Raises where the old policy's entropy is missing and needed, or no ratio ever
    leaves 1."""
    check_reads(
        strategy,
        ~Reads.VOCABULARY_SUMS,
        "which verl does not keep: for the thermostat set options.tilt=surprisal",
    )
    if bypasses(config):
        check_without_entropy(strategy, BYPASS, "set it to false")
        return
    actor = config.actor_rollout_ref.actor
    prompts = config.data.train_batch_size
    updates = verl_updates_per_rollout(
        train_batch_size=prompts,
        ppo_mini_batch_size=actor.ppo_mini_batch_size,
        ppo_epochs=actor.ppo_epochs,
    )
    if not ratios_can_move(updates) and not strategy.acts_on_fresh:
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} cannot act: with one update per step "
            "every ratio is 1 and no clip threshold does anything; set "
            f"actor.ppo_mini_batch_size ({actor.ppo_mini_batch_size}) under "
            f"data.train_batch_size ({prompts}), or actor.ppo_epochs over 1"
        )


def bypasses(config: DictConfig) -> bool:
    """Whether verl takes the rollout's log-probabilities for the old policy's, and so
    makes no pass of its own."""
    correction = config.algorithm.get("rollout_correction", None)
    return bool(correction and correction.get("bypass_mode", False))


def check_without_entropy(strategy: Strategy, where: str, cure: str) -> None:
    """Raises for a strategy that cannot live with a mean entropy estimated from sampled
    log-probabilities alone."""
    check_reads(strategy, Reads.MEAN_ENTROPY, f"which is missing under {where}: {cure}")


def _splits_sequences(actor: DictConfig) -> bool:
    """Whether several ranks share the tokens of a sequence."""
    sizes = [
        actor.get("ulysses_sequence_parallel_size", 1),
        actor.fsdp_config.get("ulysses_sequence_parallel_size", 1),
    ]
    return max(sizes) > 1
