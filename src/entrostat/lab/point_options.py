"""The point at which paired branches are measured; nothing here imports torch."""

import dataclasses
from typing import Literal

from entrostat.lab.blind import check_reward
from entrostat.lab.options import at_least, over_zero

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


def whole_seeds(rollouts: int, point: Point) -> int:
    """How many seeds fit into so many rollouts. ValueError for none."""
    if rollouts < point.length:
        raise ValueError(
            f"--rollouts {rollouts} is less than a seed's {point.length}: give more, "
            "or a smaller --length"
        )
    return rollouts // point.length
