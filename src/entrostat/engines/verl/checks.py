"""What the plug-in refuses before a run, and what a strategy needs that verl cannot give.
ValueError, one line each.

`settings` has seen to it that all that we need is set.
"""

import dataclasses

from hydra.errors import CompactHydraException, InstantiationException
from omegaconf import DictConfig
from verl.utils.config import omega_conf_to_dataclass

from entrostat.engines.controller import check_reads
from entrostat.engines.verl.config import EntrostatLossConfig
from entrostat.engines.verl.settings import (
    LOSS,
    LOSS_MODE,
    NAME,
    OWN_FIELDS,
    TARGET,
    TARGET_KEY,
    TRAINER_MODE,
    other_trainer,
)
from entrostat.strategies import NoState, Reads, Strategy, strategy_name
from entrostat.texts import did_you_mean
from entrostat.trainers import (
    VERL_TRAINERS,
    ratios_can_move,
    verl_updates_per_rollout,
)

BYPASS = "algorithm.rollout_correction.bypass_mode=true"
FSDP = ("fsdp", "fsdp2")
CAN_GO_BACK = (*FSDP, "veomni", "megatron")
"""Engines whose weights verl sets back to those of a step's start (DetachActorWorker)."""
ENGINES = (*FSDP, "fsdp_turbo", "megatron", "veomni", "torchtitan")
"""Values of actor.strategy under which a loss call has whole sequences, and verl takes
its metrics from one rank of each data-parallel group."""
_OUR_TRAINER = (
    f"run verl.trainer.main_ppo with trainer.use_v1=true and {TRAINER_MODE}={NAME}"
)


class Refused(CompactHydraException, ValueError):
    """A configuration that cannot do what it says. Of this kind of error Hydra prints
    the text alone."""


def checked_options(config: DictConfig) -> EntrostatLossConfig:
    """Our options of a verl configuration whose run can do what they say."""
    options = _options(config.actor_rollout_ref.actor.policy_loss)
    _check_setup(config)
    check_can_act(config, options.make())
    where = other_trainer(config)
    if where:
        _check_mode_unset(config, where)
        check_without_our_trainer(options, where)
    if options.dump_every:
        _check_dump(config.actor_rollout_ref.actor)
    return options


def _options(policy_loss: DictConfig) -> EntrostatLossConfig:
    if policy_loss.loss_mode != NAME:
        raise ValueError(
            f"{TRAINER_MODE}={NAME} needs {LOSS_MODE}={NAME}, got "
            f"{policy_loss.loss_mode!r}: verl would train on that loss and the "
            "controller would steer nothing"
        )
    if policy_loss.get("_target_") == TARGET:
        _check_names(policy_loss)
    try:
        options = omega_conf_to_dataclass(policy_loss)
    except InstantiationException as error:
        # Hydra's text is three lines, the cause's is the sentence
        raise ValueError(str(error.__cause__ or error)) from None
    if not isinstance(options, EntrostatLossConfig):
        raise ValueError(f"{LOSS} has no options of {NAME}: set {TARGET_KEY}={TARGET}")
    return options


def _check_names(policy_loss: DictConfig) -> None:
    """Raises ValueError for a setting that there is not, such as an option of the
    strategy that does not stand under `options`."""
    fields = {field.name for field in dataclasses.fields(EntrostatLossConfig)}
    unknown = sorted(set(policy_loss) - fields)
    if unknown:
        paths = ", ".join(f"{LOSS}.{name}" for name in unknown)
        hint = did_you_mean(str(unknown[0]), OWN_FIELDS)
        raise ValueError(
            f"{paths}: no such setting. {hint}An option of the strategy stands under "
            f"{LOSS}.options"
        )


def _check_setup(config: DictConfig) -> None:
    """Raises ValueError where verl's engine or another loss of verl's is in the way."""
    _check_engine(config.actor_rollout_ref.actor)
    _check_going_back(config)
    if config.get("distillation") and config.distillation.get("enabled", False):
        raise ValueError(
            f"distillation sets a loss function of its own, and so does {NAME}: switch "
            "one of them off"
        )


def _check_engine(actor: DictConfig) -> None:
    """Raises ValueError where a loss call may have parts of sequences, or some that
    another rank counts too."""
    engine = actor.strategy
    if engine not in ENGINES:
        raise ValueError(
            f"actor.strategy={engine!r} is not supported, only {', '.join(ENGINES)}: it "
            "is not known which ranks call the loss there, and which of them verl counts"
        )
    if engine == "megatron" and actor.megatron.get("dynamic_context_parallel", False):
        raise ValueError(
            "actor.megatron.dynamic_context_parallel=true is not supported: it deals a "
            "batch anew among the ranks, so tokens would be counted more than once; set "
            "it to false, context_parallel_size may stay"
        )
    if engine == "torchtitan" and actor.torchtitan.get("context_parallel_size", 1) > 1:
        raise ValueError(
            "actor.torchtitan.context_parallel_size must be 1: a rank has parts of "
            "sequences there, and the loss wants whole ones"
        )


def _check_going_back(config: DictConfig) -> None:
    """Raises ValueError where verl's separate_async would end in its first step."""
    engine = config.actor_rollout_ref.actor.strategy
    mode = config.trainer.v1.trainer_mode
    separate = VERL_TRAINERS.get(mode) == "separate_async" and not other_trainer(config)
    if separate and engine not in CAN_GO_BACK and not bypasses(config):
        raise ValueError(
            f"{TRAINER_MODE}={mode} is not supported under actor.strategy={engine}, only "
            f"{', '.join(CAN_GO_BACK)}: verl cannot set its weights back to a step's "
            f"start; set {NAME}_colocate_async, or {BYPASS}"
        )


def _check_dump(actor: DictConfig) -> None:
    """Raises ValueError where several ranks have the same rows, which each would
    write."""
    if actor.strategy not in FSDP:
        raise ValueError(
            f"{LOSS}.dump_every is not supported under actor.strategy={actor.strategy}, "
            f"only {' and '.join(FSDP)}: ranks that share a model have the same rows, "
            "and each would write them; leave it out"
        )
    sizes = [
        actor.get("ulysses_sequence_parallel_size", 1),
        actor.fsdp_config.get("ulysses_sequence_parallel_size", 1),
    ]
    if max(sizes) > 1:
        raise ValueError(
            f"{LOSS}.dump_every needs ulysses_sequence_parallel_size=1: ranks would "
            "write the same rows"
        )


def check_can_act(config: DictConfig, strategy: Strategy) -> None:
    """Raises where the old policy's entropy is missing and needed, or no ratio ever
    leaves 1."""
    check_reads(
        strategy,
        ~Reads.VOCABULARY_SUMS,
        "which verl does not keep: for the thermostat set options.tilt=surprisal",
    )
    if bypasses(config):
        _check_without_entropy(strategy, BYPASS, "set it to false")
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


def _check_mode_unset(config: DictConfig, where: str) -> None:
    """Raises where trainer_mode asks for what this trainer would pass over without a
    word."""
    mode = config.trainer.v1.trainer_mode
    if mode in VERL_TRAINERS:
        raise ValueError(
            f"{where} does not read {TRAINER_MODE}={mode}: nothing would be observed, "
            f"logged or dumped: {_OUR_TRAINER}; or leave trainer_mode out, for a "
            "strategy without a state"
        )


def check_without_our_trainer(options: EntrostatLossConfig, where: str) -> None:
    """Raises for what only our trainer can do, where another one calls the loss."""
    strategy = options.make()
    if not isinstance(strategy.init(), NoState):
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} keeps a state that is observed once "
            f"per step, and {where} hands none on: {_OUR_TRAINER}"
        )
    if options.dump_every:
        raise ValueError(
            f"{LOSS}.dump_every is not read by {where}, which writes no dumps: "
            f"{_OUR_TRAINER}, or leave it out"
        )
    _check_without_entropy(strategy, where, _OUR_TRAINER)


def _check_without_entropy(strategy: Strategy, where: str, cure: str) -> None:
    """Raises for a strategy that cannot live with a mean entropy estimated from sampled
    log-probabilities alone."""
    check_reads(strategy, Reads.MEAN_ENTROPY, f"which is missing under {where}: {cure}")
