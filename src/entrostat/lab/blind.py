"""Rewards that are blind to the answer: those of arXiv 2509.26114's section on random
rewards."""

import random
import re

_BERNOULLI = re.compile(r"bernoulli:(0?\.\d+|[01](\.0*)?)")


def check_reward(reward: str) -> None:
    """ValueError unless `reward` is "true", "normal" or "bernoulli:P" with P in [0, 1]."""
    if reward in ("true", "normal") or _BERNOULLI.fullmatch(reward):
        return
    raise ValueError(
        f"--reward is {reward!r}: use true, normal, or bernoulli:P with P between 0 and 1"
    )


def random_rewards(reward: str, count: int, key: str) -> list[float]:
    """`count` draws of Bernoulli(P) or N(0, 1), independent of prompt and completion; the
    same for the same key."""
    # a generator of our own: torch's global one would move the sampler
    rng = random.Random(key)
    if reward == "normal":
        return [rng.gauss(0.0, 1.0) for _ in range(count)]
    chance = float(reward.removeprefix("bernoulli:"))
    return [float(rng.random() < chance) for _ in range(count)]
