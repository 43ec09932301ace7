"""What can be checked of a measurement before its first branches."""

import math
from collections.abc import Sequence
from typing import Any

from entrostat.engines.controller import Controller
from entrostat.engines.qwen2 import load_model
from entrostat.lab.control import control
from entrostat.lab.environment import lab_environment
from entrostat.lab.methods import label
from entrostat.lab.point_options import Point
from entrostat.objectives import OBJECTIVES, Objective
from entrostat.strategies import STRATEGIES, Strategy, make_strategy
from entrostat.trainers import ratios_can_move

NO_CLIPPING = make_strategy("grpo", low=1.0, high=math.inf)


def check(point: Point, methods: Sequence[Any]) -> None:
    """Raises ValueError for what can be known to fail before the first rollout: a
    method, the tokenizer, the number of held-out problems, or the model."""
    check_methods(methods, point)
    environment, folder = lab_environment(point.task, point.model)
    environment.task.problems(point.held_out, split="test", seed=0)
    try:
        load_model(folder)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a damaged file, or a config that lacks something
        raise ValueError(
            f"no whole model in {folder} ({type(error).__name__}: {error})"
        ) from None


def check_methods(methods: Sequence[Any], point: Point) -> list[Controller]:
    """The methods as the engine runs them.

    Raises ValueError for fewer than two methods, and for one that could do nothing.
    """
    if len(methods) < 2:
        raise ValueError(
            "a measurement takes a base and at least one arm, "
            f"got {len(methods)} method"
        )
    for method in methods:
        if not isinstance(method, Strategy | Objective):
            objectives = [f"objective:{name}" for name in OBJECTIVES]
            raise ValueError(
                f"only TRL's trainer has the loss of {label(method)}: a measurement "
                f"takes {', '.join(STRATEGIES)} and {', '.join(objectives)}"
            )
    controllers = [control(method) for method in methods]
    if not ratios_can_move(point.updates_per_rollout, point.staleness):
        for controller in controllers:
            _check_acts_on_fresh(controller)
    return controllers


def _check_acts_on_fresh(controller: Controller) -> None:
    """Raises ValueError for a clip that has no effect while every ratio is 1.

    The base without clipping is meant to do nothing, so it passes.
    """
    strategy = controller.strategy
    assert strategy is not None
    if controller.objective is not None or strategy == NO_CLIPPING:
        return
    if not strategy.acts_on_fresh:
        raise ValueError(
            f"{strategy} cannot act: with one update on a fresh rollout every ratio is "
            "exactly 1; set --updates-per-rollout to 2 or more, or --staleness to 1 or "
            "more"
        )
