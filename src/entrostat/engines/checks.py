"""What the TRL engine refuses before a run: a trainer that it does not know, and settings that leave it idle."""

import sys
from typing import Any

from entrostat.objectives import Objective, objective_name
from entrostat.objectives.clipped import OnClipped
from entrostat.strategies import Reads, Strategy, strategy_name

TESTED_TRL = ("1.16.",)
CLAMPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
"""TRL's loss types with a clip window that can be set."""


def check_environment(kind: type) -> None:
    """Raises RuntimeError where TRL is not the one that this engine was tested with, or has been rewritten."""
    import trl  # here: the window of this module's loss types is that of other engines too

    if not trl.__version__.startswith(TESTED_TRL):
        raise RuntimeError(
            f"this entrostat is tested with TRL {TESTED_TRL[-1]}x, got {trl.__version__}: pip install 'trl==1.16.0'"
        )
    if "unsloth" in sys.modules or any(
        "unsloth" in c.__module__.lower() for c in kind.__mro__
    ):
        raise RuntimeError(
            "unsloth has rewritten TRL's trainer and would bypass the clip bounds without a word: "
            "run without importing unsloth"
        )


def is_on_policy(args: Any) -> bool:
    """TRL's own test (with its sign turned): generation falls on the end of an optimizer step, so old is current."""
    return (
        args.gradient_accumulation_steps
        % (args.steps_per_generation * args.num_iterations)
        == 0
    )


def updates_per_rollout(args: Any) -> int:
    """Optimizer updates between two generations; 0 where one update takes several of them."""
    return (
        args.steps_per_generation
        * args.num_iterations
        // args.gradient_accumulation_steps
    )


def check_can_act(
    args: Any,
    strategy: Strategy | None,
    objective: Objective | None = None,
    *,
    images: bool = False,
) -> None:
    """Raises ValueError where `strategy` could not do what it says under these GRPOConfig fields.

    `images`: whether the model takes them.
    Without a strategy TRL's own thresholds stand, and there is nothing to refuse. With an objective beside it a
    strategy that cannot act on fresh tokens may stand idle: the objective acts.
    """
    if isinstance(objective, OnClipped):
        _check_window(args, strategy, objective)
    if strategy is not None:
        _check_strategy(args, strategy, objective)
        if images and Reads.VOCABULARY_SUMS in strategy.reads:
            raise ValueError(
                f"strategy {strategy_name(strategy)!r} needs sums over the vocabulary, whose pass is one of text "
                "alone, but the model takes images: use a strategy or a tilt that reads entropy (tilt='surprisal')"
            )
        _check_rollouts(args, f"strategy {strategy_name(strategy)!r}", strategy)
    if objective is not None:
        _check_rollouts(args, f"objective {objective_name(objective)!r}", objective)


def _check_strategy(args: Any, strategy: Strategy, objective: Objective | None) -> None:
    """Raises ValueError where nothing would read its bounds."""
    name = strategy_name(strategy)
    if args.loss_type not in CLAMPED_LOSSES:
        raise ValueError(
            f"loss_type {args.loss_type!r} has no clip window to set: use one of {', '.join(CLAMPED_LOSSES)}, "
            "or strategy=None to measure only"
        )
    if args.importance_sampling_level != "token" and strategy.per_token:
        raise ValueError(
            f"strategy {name!r} sets bounds per token, but importance_sampling_level is "
            f"{args.importance_sampling_level!r}, one ratio a sequence: set it to 'token', or use a static strategy"
        )
    if is_on_policy(args) and not strategy.acts_on_fresh and objective is None:
        raise ValueError(
            f"strategy {name!r} cannot act: with one update a rollout every ratio is exactly 1 and no clip threshold "
            f"does anything; set steps_per_generation over gradient_accumulation_steps "
            f"({args.gradient_accumulation_steps}), or num_iterations over 1"
        )


def _check_rollouts(args: Any, name: str, owner: Strategy | Objective) -> None:
    """Raises ValueError where what has a state would observe several rollouts an update: it counts on one at most."""
    passes, window = (
        args.steps_per_generation * args.num_iterations,
        args.gradient_accumulation_steps,
    )
    if owner.init()._fields and not updates_per_rollout(args):
        raise ValueError(
            f"{name} expects its updates between two rollouts, but here one update takes {window / passes:g} rollouts: "
            f"set steps_per_generation times num_iterations ({passes}) to at least gradient_accumulation_steps "
            f"({window})"
        )


def _check_window(args: Any, strategy: Strategy | None, objective: OnClipped) -> None:
    """Raises ValueError where the loss beneath is not the one that the objective takes away."""
    name = objective_name(objective)
    if strategy is not None:
        raise ValueError(
            f"objective {name!r} names its own clip window: leave out strategy {strategy_name(strategy)!r}, "
            "or set the objective's low and high"
        )
    high = args.epsilon if args.epsilon_high is None else args.epsilon_high
    fields = {
        "epsilon": (args.epsilon, objective.low),
        "epsilon_high": (high, objective.high),
        "delta": (args.delta, None),
        "loss_type": (args.loss_type, "dapo"),
        "importance_sampling_level": (args.importance_sampling_level, "token"),
        "top_entropy_quantile": (args.top_entropy_quantile, 1.0),
        "off_policy_mask_threshold": (args.off_policy_mask_threshold, None),
    }
    for field, (got, wanted) in fields.items():
        if got != wanted:
            raise ValueError(
                f"objective {name!r} replaces the clipped loss at some tokens, so the trainer's has to be the same: "
                f"set {field}={wanted!r}, got {got!r}"
            )
