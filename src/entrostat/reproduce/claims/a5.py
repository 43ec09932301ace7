"""Entropy is monotone in each threshold under random rewards (arXiv 2509.26114, runs with
random rewards).

Each threshold alone takes the values of a ladder, and the slope of its effect over
ln(threshold) is judged. c1 climbs the same ladders under the true reward.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from entrostat.lab.methods import Method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import a4
from entrostat.reproduce.effects import (
    NONE,
    EffectJob,
    Rows,
    effect,
    one_sided,
    regime,
)
from entrostat.reproduce.judge import conclude, spread, towards
from entrostat.reproduce.runs import Records

VALUES = (0.0125, 0.025, 0.05, 0.1)
"""From the rule's threshold up, doubled each time."""
SIGNS = {"low": -1, "high": 1}
"""Which way the effect on entropy goes as the threshold grows."""


def ladder(values: Sequence[float]) -> tuple[Method, ...]:
    """No clipping as the base, then each threshold alone: low, high, low, high, ..."""
    methods: list[Method] = [NONE]
    for value in values:
        methods += one_sided(value)
    return tuple(methods)


def job(mode: Mode) -> EffectJob:
    """Both ladders."""
    return EffectJob(regime(mode), ladder(VALUES), mode.count(6, fast=3))


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement of both ladders."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The slopes; how many steps of each ladder go the right way stands beside them."""
    rows = records[job(mode)]["rows"]
    return conclude(slope_parts(rows, VALUES, "random"), rung_numbers(rows, VALUES))


def slope_parts(rows: Rows, values: Sequence[float], reward: str) -> list[Part]:
    """Under 0 for low and over 0 for high: a tight low raises entropy, a tight high
    lowers it.
    """
    parts = []
    for side, sign in SIGNS.items():
        what = f"{reward} reward: slope of the effect on ln H over ln({side})"
        parts.append(towards(sign, what, slopes(values, _rungs(rows, side))))
    return parts


def rung_numbers(rows: Rows, values: Sequence[float]) -> dict[str, Any]:
    """The effect of each rung, and how many steps of each ladder go the right way."""
    numbers: dict[str, Any] = {}
    for side, sign in SIGNS.items():
        rungs = _rungs(rows, side)
        for value, effects in zip(values, rungs, strict=True):
            what = f"{side} {value:g}: effect on ln H per rollout"
            numbers[what] = spread(effects)
        steps = sign * np.diff(np.mean(rungs, axis=1))
        right = int((steps > 0).sum())
        numbers[f"{side}: steps the right way, of {len(steps)}"] = right
    return numbers


def slopes(values: Sequence[float], of_seeds: Sequence[Sequence[float]]) -> list[float]:
    """For each seed the least-squares slope over ln(value).

    `of_seeds` has one row per value, with one number per seed.
    """
    x = np.log(values) - np.mean(np.log(values))
    columns = np.asarray(of_seeds, dtype=np.float64).T
    return [float((x * column).sum() / (x * x).sum()) for column in columns]


def _rungs(rows: Rows, side: str) -> list[list[float]]:
    """The effect of one side at each value of a ladder, one number per seed."""
    first = 1 if side == "low" else 2
    return [effect(rows, arm) for arm in range(first, len(rows[0]["branches"]), 2)]


CLAIM = Claim(
    name="a5",
    statement="Random reward: entropy falls as low grows, and rises as high grows",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "Paired branches under bernoulli:0.5 in a4's regime, 6 seeds of 8 rollouts, one "
        "threshold at 0.0125, 0.025, 0.05 and 0.1 with the other side off. The slope of "
        "the effect on ln H over ln(threshold), by seed, is under 0 for low and over 0 "
        "for high (95% intervals). The number of steps of the ladder that go the right "
        "way is reported"
    ),
    measure="ln H per rollout and per factor e of low",
    use=(
        "Use either threshold as a knob: a tighter one moves entropy more, until it takes "
        "so many tokens that nothing is left to push; do not tune it where it clips "
        "nothing"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
)
