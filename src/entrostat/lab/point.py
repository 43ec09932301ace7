"""The point at which paired branches are measured, and what can be checked before
them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from entrostat.engines.controller import Controller
from entrostat.engines.qwen2 import load_model
from entrostat.lab.blind import check_reward
from entrostat.lab.control import control
from entrostat.lab.environment import lab_environment
from entrostat.lab.methods import label
from entrostat.lab.options import at_least, over_zero
from entrostat.objectives import OBJECTIVES, Objective
from entrostat.strategies import STRATEGIES, Strategy, make_strategy
from entrostat.trainers import ratios_can_move

NO_CLIPPING = make_strategy("grpo", low=1.0, high=math.inf)
_FROM_1 = ("updates_per_rollout", "prompts", "length", "held_out", "held_out_samples")
_FROM_0 = ("staleness", "warmup")


@dataclasses.dataclass(frozen=True)
class Point:
    """Where the measurement is made: a task, a model, and how it is trained."""

    task: str = "countdown"
    """Task of the lab."""
    model: str = ""
    """Folder of a Qwen2 or Llama model with its tokenizer, such as a run's checkpoint;
    empty for the task's own."""
    reward: str = "bernoulli:0.5"
    """true (the task's verifier), bernoulli:P or normal (random, blind to the
    answer)."""
    scale_rewards: Literal["group", "none"] = "none"
    """Divide advantages by the group's standard deviation, or not (2509.26114)."""
    prompts: int = 16
    """Prompts per rollout."""
    samples: int = 16
    """Completions of each prompt."""
    updates_per_rollout: int = 8
    """Optimizer steps on each rollout."""
    learning_rate: float = 1e-4
    """AdamW, constant."""
    temperature: float = 1.0
    """Of the sampler; entropy is that of this sampler."""
    max_grad_norm: float = 1.0
    """Gradient norm is cut to this."""
    staleness: int = 0
    """Rollouts that the sampling policy is behind."""
    length: int = 16
    """Rollouts measured from one start. The next seed starts at the model again."""
    warmup: int = 4
    """Rollouts before them, which give the optimizer its moments and are not
    measured."""
    held_out: int = 64
    """Held-out prompts that entropy is measured on, drawn anew for each rollout."""
    held_out_samples: int = 4
    """Completions of each held-out prompt."""
    match_kl: bool = False
    """Stretch each arm's steps until its KL is the base's, anew in each rollout: its
    updates are tried a few times."""

    def __post_init__(self):
        check_reward(self.reward)
        for name in _FROM_1:
            at_least(name, getattr(self, name), 1)
        # advantages are relative to the group: one completion would have none
        at_least("samples", self.samples, 2)
        for name in _FROM_0:
            at_least(name, getattr(self, name), 0)
        for name in ("learning_rate", "temperature", "max_grad_norm"):
            over_zero(name, getattr(self, name))
        if self.staleness > self.warmup:
            raise ValueError(
                f"--staleness {self.staleness} takes a --warmup of as many rollouts, "
                f"got {self.warmup}: the first ones have nothing older to train on"
            )
        if self.completions % self.updates_per_rollout:
            raise ValueError(
                f"--updates-per-rollout {self.updates_per_rollout} must divide the "
                f"{self.completions} completions of a rollout (--prompts "
                f"{self.prompts} x --samples {self.samples})"
            )
        self._check_reward_varies()

    def _check_reward_varies(self) -> None:
        kind, _, chance = self.reward.partition(":")
        if kind == "bernoulli" and float(chance) in (0.0, 1.0):
            raise ValueError(
                f"--reward {self.reward} is the same for all completions, so that no "
                "update moves anything"
            )

    @property
    def completions(self) -> int:
        """Of one rollout."""
        return self.prompts * self.samples


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
