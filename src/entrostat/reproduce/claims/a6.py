"""Random rewards of other laws, with and without division by the group's standard
deviation (arXiv 2509.26114).

The odd part of a4 is measured under each law.
"""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import a4
from entrostat.reproduce.effects import (
    EPS,
    NONE,
    EffectJob,
    change,
    effect,
    halves,
    one_sided,
    regime,
)
from entrostat.reproduce.judge import above, conclude, spread
from entrostat.reproduce.runs import Records

LAWS = (
    ("bernoulli:0.3", "none"),
    ("bernoulli:0.3", "group"),
    ("bernoulli:0.7", "none"),
    ("bernoulli:0.7", "group"),
    ("normal", "none"),
    ("normal", "group"),
    ("bernoulli:0.5", "group"),
)
"""The reward, and what the advantage R - mean is divided by: nothing, or the group's
standard deviation. bernoulli:0.5 without division is a4."""
FAST = (("bernoulli:0.3", "group"), ("normal", "none"))
UNCLIPPED, LOW_ALONE, HIGH_ALONE = range(3)
"""The arms of each measurement."""


def measurements(mode: Mode) -> dict[str, EffectJob]:
    """a4's two sides under each law of the reward."""
    methods = (NONE, *one_sided(EPS))
    seeds = mode.count(5, fast=3)
    by_law: dict[str, EffectJob] = {}
    for reward, scale in LAWS:
        if mode.fast and (reward, scale) not in FAST:
            continue
        point = regime(mode, reward=reward, scale_rewards=scale)
        divided = "R - mean" if scale == "none" else "(R - mean) / std"
        by_law[f"{reward}, {divided}"] = EffectJob(point, methods, seeds)
    return by_law


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement per law."""
    return list(measurements(mode).values())


def judge(mode: Mode, records: Records) -> Result:
    """a4's directions for every law."""
    parts = []
    numbers = {}
    for law, measurement in measurements(mode).items():
        rows = records[measurement]["rows"]
        low, high = effect(rows, LOW_ALONE), effect(rows, HIGH_ALONE)
        odd, even = halves(low, high)
        parts.append(above(f"{law}: odd part of ln H per rollout", odd))
        numbers[f"{law}: clip-low alone"] = spread(low)
        numbers[f"{law}: clip-high alone"] = spread(high)
        numbers[f"{law}: even part"] = spread(even)
        numbers[f"{law}: drift without clipping"] = spread(change(rows, UNCLIPPED))
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a6",
    statement=(
        "The directions of a4 hold under Bernoulli(0.3), Bernoulli(0.7) and N(0, 1), with "
        "and without division by the group's standard deviation"
    ),
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "a4's odd part (half the difference of clip-low and clip-high, each against no "
        "clipping), 5 seeds of 8 rollouts, for bernoulli:0.3, bernoulli:0.7 and normal with R - mean "
        "and with (R - mean) / std, and for bernoulli:0.5 with (R - mean) / std: it is "
        "over 0 for all 7 laws (95% intervals)"
    ),
    measure="ln H per rollout, odd part under Bernoulli(0.3)",
    use=(
        "Use a4's advice whatever law the reward has, with the group's standard deviation "
        "or without; do not look for a reward that turns the direction round"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
    fast="Bernoulli(0.3) with std and N(0, 1) without; few seeds, small batches",
)
