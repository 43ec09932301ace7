"""What paired branches say of each arm: its effect per rollout, with intervals.

entrostat.lab.paired makes the branches, entrostat.lab.measurement keeps them in a
folder.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from entrostat.estimate import Floats, Interval, seed_interval
from entrostat.lab.methods import Method, label, make_method
from entrostat.lab.paired import Branch, PairedRollout
from entrostat.strategies.static import Grpo

MEANS = ("kl", "rms", "clip_low", "clip_high", "pace")
"""Fields of Branch whose means say how far the updates went."""


class Effect(NamedTuple):
    """What one arm does, or the odd or even part of a pair. Rollouts are what varies
    independently."""

    name: str
    log_entropy: Interval
    """Of ln H per rollout, against the base."""
    by_seed: Interval
    """The same mean with the interval over seeds; its ends are nan with one seed."""
    reward: Interval
    """Of the mean true reward per rollout, against the base."""


class Measured(NamedTuple):
    """What paired rollouts say."""

    rollouts: int
    seeds: int
    drift: Interval
    """Change of ln H per rollout under the base."""
    effects: list[Effect]
    """One per arm, then the odd and the even part of each pair."""
    means: dict[str, dict[str, float]]
    """Of the base and each arm: the mean of each of `MEANS`."""


def pair_of(eps: float) -> list[Method]:
    """The two one-sided thresholds of one size: low alone, then high alone."""
    low_alone = make_method("grpo", low=eps, high=math.inf)
    high_alone = make_method("grpo", low=1.0, high=eps)
    return [low_alone, high_alone]


def pairs_in(methods: Sequence[Method]) -> list[tuple[float, int, int]]:
    """Each size of which both one-sided thresholds are among the methods: the size, and
    the places of low alone and high alone."""
    pairs = []
    for low_place, method in enumerate(methods):
        # low = 1.0 is no clipping at all, not a threshold on one side
        if not isinstance(method, Grpo) or method.low == 1.0:
            continue
        low_alone, high_alone = pair_of(method.low)
        if method == low_alone and high_alone in methods:
            pairs.append((method.low, low_place, methods.index(high_alone)))
    return pairs


def named(method: Method) -> str:
    """A method's label, or where it is a static window with a side off, which side is
    on.

    >>> named(make_method("grpo", low=1.0, high=0.05))
    'high 0.05 alone'
    """
    if not isinstance(method, Grpo):
        return label(method)
    sides = []
    if method.low < 1.0:
        sides.append(f"low {method.low}")
    if method.high < math.inf:
        sides.append(f"high {method.high}")
    if not sides:
        return "no clipping"
    return label(method) if len(sides) == 2 else f"{sides[0]} alone"


def estimate(rollouts: Sequence[PairedRollout], methods: Sequence[Method]) -> Measured:
    """All effects against the first method, with 95% intervals over rollouts (Student's
    t). The ends of an interval are nan where there is one rollout."""
    names = [named(method) for method in methods]
    numbers = _by_field(rollouts)
    before = np.array([rollout.before for rollout in rollouts])
    drift = numbers["log_entropy"][:, 0] - before
    means: dict[str, dict[str, float]] = {}
    for place, name in enumerate(names):
        means[name] = {}
        for field in MEANS:
            means[name][field] = statistics.fmean(numbers[field][:, place])
    seeds = [rollout.seed for rollout in rollouts]
    return Measured(
        rollouts=len(rollouts),
        seeds=len(set(seeds)),
        drift=_interval(drift),
        effects=_effects(numbers, seeds, names, pairs_in(methods)),
        means=means,
    )


def _effects(
    numbers: dict[str, Floats],
    seeds: Sequence[int],
    names: Sequence[str],
    pairs: Sequence[tuple[float, int, int]],
) -> list[Effect]:
    """Of each arm, then of the odd and the even part of each pair."""
    entropy_change = _less_base(numbers["log_entropy"])
    reward_change = _less_base(numbers["reward"])
    effects = []
    for arm, name in enumerate(names):
        if arm > 0:
            changes = entropy_change[:, arm], reward_change[:, arm]
            effects.append(_effect(name, seeds, *changes))
    for eps, low, high in pairs:
        # where the base itself is one of the two there are no parts
        if 0 in (low, high):
            continue
        for part, sign in (("odd", -1), ("even", 1)):
            name = f"{part} part of {eps}"
            entropy_part = (entropy_change[:, low] + sign * entropy_change[:, high]) / 2
            reward_part = (reward_change[:, low] + sign * reward_change[:, high]) / 2
            effects.append(_effect(name, seeds, entropy_part, reward_part))
    return effects


def _less_base(numbers: Floats) -> Floats:
    """Each method's difference to the base in the same rollout, (rollouts, methods)."""
    return numbers - numbers[:, :1]


def _by_field(rollouts: Sequence[PairedRollout]) -> dict[str, Floats]:
    """Each field of Branch, (rollouts, methods)."""
    numbers = np.array([rollout.branches for rollout in rollouts], dtype=np.float64)
    by_field = np.moveaxis(numbers, -1, 0)
    return dict(zip(Branch._fields, by_field, strict=True))


def _effect(
    name: str, seeds: Sequence[int], entropy_change: Floats, reward_change: Floats
) -> Effect:
    """From changes per rollout, and the seed of each rollout."""
    by_seed: dict[int, list[float]] = {}
    for seed, change in zip(seeds, entropy_change, strict=True):
        by_seed.setdefault(seed, []).append(change)
    seed_means = [statistics.fmean(changes) for changes in by_seed.values()]
    return Effect(
        name,
        log_entropy=_interval(entropy_change),
        by_seed=_interval(seed_means),
        reward=_interval(reward_change),
    )


def _interval(values: Sequence[float] | Floats) -> Interval:
    if len(values) > 1:
        return seed_interval(values)
    return Interval(float(values[0]), math.nan, math.nan)


def narrow(measured: Measured, within: float) -> bool:
    """Whether the intervals of ln H are narrow enough: those of the odd parts, or of
    all effects where there is no pair. With one rollout none is.

    `within` is the largest half-width, in units of ln H per rollout.
    """
    odd_parts = [e for e in measured.effects if e.name.startswith("odd part")]
    for effect in odd_parts or measured.effects:
        half_width = (effect.log_entropy.high - effect.log_entropy.low) / 2
        # a nan is not narrow
        if not half_width <= within:
            return False
    return True
