"""What the TRL engine refuses before a run: a trainer that it does not know, and
settings under which a strategy or an objective does nothing."""

import sys
from collections.abc import Mapping
from typing import Any

import trl

from entrostat.objectives import Objective, objective_name
from entrostat.objectives.clipped import OnClipped
from entrostat.strategies import Reads, Strategy, strategy_name
from entrostat.trainers import (
    TESTED_TRL,
    TRL_CLAMPED,
    trl_always_fresh,
    trl_updates_per_rollout,
)


def check_environment(kind: type) -> None:
    """Raises RuntimeError where the installed TRL is not the tested one, or where
    unsloth has rewritten it. `kind` is the trainer's class."""
    series = TESTED_TRL.rpartition(".")[0]
    if not trl.__version__.startswith(f"{series}."):
        raise RuntimeError(
            f"this entrostat is tested with TRL {series}.x, got {trl.__version__}: "
            f"pip install 'trl=={TESTED_TRL}'"
        )
    modules = [base.__module__.lower() for base in kind.__mro__]
    if "unsloth" in sys.modules or any("unsloth" in module for module in modules):
        raise RuntimeError(
            "unsloth has rewritten TRL's trainer, which would bypass the clip bounds "
            "silently: run without importing unsloth"
        )


def updates_per_rollout(args: Any) -> int:
    """Optimizer updates between two rollouts under these GRPOConfig fields; 0 where one
    update takes several rollouts."""
    return trl_updates_per_rollout(**_batching(args))


def always_fresh(args: Any) -> bool:
    """Whether every ratio is exactly 1 under these GRPOConfig fields."""
    return trl_always_fresh(**_batching(args))


def _batching(args: Any) -> dict[str, int]:
    """The fields that say when rollouts and updates fall."""
    return {
        "steps_per_generation": args.steps_per_generation,
        "num_iterations": args.num_iterations,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
    }


def check_can_act(
    args: Any,
    strategy: Strategy | None,
    objective: Objective | None = None,
    *,
    images: bool = False,
) -> None:
    """Raises ValueError where `strategy` or `objective` could not do what it says.

    Without a strategy TRL's own thresholds stand, and there is nothing to refuse. Beside
    an objective a strategy may have no effect: the objective has one.

    Args:
        args: a GRPOConfig.
        images: whether the model takes images.
    """
    if isinstance(objective, OnClipped):
        _check_window(args, strategy, objective)
    if strategy is not None:
        _check_strategy(args, strategy, objective)
        if images and Reads.VOCABULARY_SUMS in strategy.reads:
            raise ValueError(
                f"strategy {strategy_name(strategy)!r} needs sums over the vocabulary. "
                "They cost a pass that handles text alone, but the model takes images: "
                "use a strategy or a tilt that reads entropy (tilt='surprisal')"
            )
        _check_rollouts(args, f"strategy {strategy_name(strategy)!r}", strategy)
    if objective is not None:
        _check_rollouts(args, f"objective {objective_name(objective)!r}", objective)


def check_steps(args: Any) -> None:
    """Raises ValueError where these settings train nothing."""
    if args.max_steps == 0:
        raise ValueError(
            "max_steps=0 trains nothing: set the number of updates, or -1 for "
            "num_train_epochs"
        )


def _check_strategy(args: Any, strategy: Strategy, objective: Objective | None) -> None:
    """Raises ValueError where the loss would not read the strategy's bounds, or where
    they would change nothing."""
    name = strategy_name(strategy)
    if args.loss_type not in TRL_CLAMPED:
        raise ValueError(
            f"loss_type {args.loss_type!r} has no clip window to set: use one of "
            f"{', '.join(TRL_CLAMPED)}, or strategy=None to measure only"
        )
    if args.importance_sampling_level != "token" and strategy.per_token:
        raise ValueError(
            f"strategy {name!r} sets bounds per token, but importance_sampling_level is "
            f"{args.importance_sampling_level!r}, one ratio per sequence: set it to "
            "'token', or use a static strategy"
        )
    acts = strategy.acts_on_fresh or objective is not None
    if always_fresh(args) and not acts:
        raise ValueError(
            f"strategy {name!r} cannot act: with one update per rollout every ratio is "
            "exactly 1, so clipping does nothing; set steps_per_generation over "
            f"gradient_accumulation_steps ({args.gradient_accumulation_steps}), or "
            "num_iterations over 1"
        )


def _check_rollouts(args: Any, name: str, owner: Strategy | Objective) -> None:
    """Raises ValueError where something with a state would observe several rollouts in
    one update: its state would count that update several times."""
    if not owner.init()._fields or updates_per_rollout(args):
        return
    micro_batches = args.steps_per_generation * args.num_iterations
    accumulated = args.gradient_accumulation_steps
    raise ValueError(
        f"{name} expects its updates between two rollouts, but here one update takes "
        f"{accumulated / micro_batches:g} rollouts: set steps_per_generation times "
        f"num_iterations ({micro_batches}) to at least gradient_accumulation_steps "
        f"({accumulated})"
    )


def _check_window(args: Any, strategy: Strategy | None, objective: OnClipped) -> None:
    """Raises ValueError where the trainer's loss is not the one that the objective
    replaces at some tokens."""
    name = objective_name(objective)
    if strategy is not None:
        raise ValueError(
            f"objective {name!r} names its own clip window: leave out strategy "
            f"{strategy_name(strategy)!r}, or set the objective's low and high"
        )
    wanted_fields: Mapping[str, Any] = {
        "epsilon": objective.low,
        "epsilon_high": objective.high,
        "delta": None,
        "loss_type": "dapo",
        "importance_sampling_level": "token",
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
    }
    for field, wanted in wanted_fields.items():
        got = getattr(args, field)
        if field == "epsilon_high" and got is None:
            got = args.epsilon
        if got != wanted:
            raise ValueError(
                f"objective {name!r} replaces the clipped loss at some tokens, so the "
                f"trainer's has to be the same: set {field}={wanted!r}, got {got!r}"
            )
