"""Rewards of the lab: the task's verifier, or a random draw that knows nothing of the answer."""

import random
import re
from collections.abc import Callable
from typing import Any

from entrostat.engines.rewards import RewardError, shown
from entrostat.lab.tasks import Problem, Task


def check_reward(reward: str) -> None:
    """ValueError unless `reward` is "true", "normal" or "bernoulli:P" with P in [0, 1]."""
    if reward in ("true", "normal"):
        return
    match = re.fullmatch(r"bernoulli:(0?\.\d+|[01](\.0*)?)", reward)
    if match is None:
        raise ValueError(f"--reward is {reward!r}: use true, normal, or bernoulli:P with P between 0 and 1")


def make_reward(reward: str, task: Task, seed: int) -> Callable[..., list[float]]:
    """A reward function in TRL's signature.

    Random rewards are those of arXiv 2509.26114's section on random rewards: independent of prompt and completion,
    Bernoulli(P) or N(0, 1), from a generator keyed by seed and optimizer step, so that a resumed run draws the same.
    """
    check_reward(reward)

    def verified(prompts: list[str], completions: list[str], key: list[str], data: list[dict[str, Any]], **_: Any):
        rewards = []
        for prompt, completion, name, facts in zip(prompts, completions, key, data, strict=True):
            try:
                rewards.append(task.score(Problem(prompt, name, facts), completion))
            except Exception as error:
                raise RewardError(
                    f"the scorer of {task.name!r} threw {type(error).__name__} ({shown(str(error))}) on prompt "
                    f"{shown(prompt)}, completion {shown(completion)}"
                ) from error
        return rewards

    def drawn(prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
        rng = random.Random(f"{reward}/{seed}/{trainer_state.global_step}")
        if reward == "normal":
            return [rng.gauss(0.0, 1.0) for _ in completions]
        chance = float(reward.removeprefix("bernoulli:"))
        return [float(rng.random() < chance) for _ in completions]

    return verified if reward == "true" else drawn
