"""Random rewards: entropy is monotone in each threshold (arXiv 2509.26114, runs with random rewards)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from entrostat.lab.methods import Method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import a4
from entrostat.reproduce.effects import NONE, EffectJob, effect, one_sided, regime
from entrostat.reproduce.judge import above, below, conclude, spread
from entrostat.reproduce.runs import Records

VALUES = (0.0125, 0.025, 0.05, 0.1)


def ladder(values: Sequence[float]) -> tuple[Method, ...]:
    """No clipping as the base, then each threshold alone at every value: low, high, low, high, ..."""
    return (NONE, *(arm for value in values for arm in one_sided(value)))


def job(mode: Mode) -> EffectJob:
    """Both ladders."""
    return EffectJob(regime(mode), ladder(VALUES), len(mode.repeats(6, fast=3)))


def rungs(rows: Sequence[dict[str, Any]], side: str) -> list[list[float]]:
    """The effect of one side at each value of a ladder, a value a seed."""
    first = 1 if side == "low" else 2
    return [effect(rows, arm) for arm in range(first, len(rows[0]["branches"]), 2)]


def slopes(values: Sequence[float], of_seeds: Sequence[Sequence[float]]) -> list[float]:
    """For each seed the least-squares slope over ln(value); `of_seeds` has a row a value."""
    x = np.log(values) - np.mean(np.log(values))
    return [
        float((x * column).sum() / (x * x).sum())
        for column in np.asarray(of_seeds, dtype=np.float64).T
    ]


def slope_parts(
    rows: Sequence[dict[str, Any]], values: Sequence[float], reward: str
) -> list[Part]:
    """Under 0 for low and over 0 for high: a tight low raises entropy, a tight high lowers it."""
    named = f"{reward} reward: slope of the effect on ln H in ln"
    return [
        below(f"{named} low", slopes(values, rungs(rows, "low"))),
        above(f"{named} high", slopes(values, rungs(rows, "high"))),
    ]


def rung_numbers(
    rows: Sequence[dict[str, Any]], values: Sequence[float]
) -> dict[str, Any]:
    """The effect of each rung, and how many steps of each ladder go the right way."""
    numbers: dict[str, Any] = {}
    for side, sign in (("low", -1), ("high", 1)):
        found = rungs(rows, side)
        for value, effects in zip(values, found, strict=True):
            numbers[f"{side} {value:g}: effect on ln H a rollout"] = spread(
                effects
            )._asdict()
        means = [sign * float(np.mean(effects)) for effects in found]
        numbers[f"{side}: steps the right way, of {len(values) - 1}"] = sum(
            b > a for a, b in pairwise(means)
        )
    return numbers


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement of both ladders."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the effect in the threshold's logarithm; steps of the ladder that go the right way beside it."""
    rows = records[job(mode)]["rows"]
    numbers = rung_numbers(rows, VALUES)
    return conclude(slope_parts(rows, VALUES, "random"), numbers)


CLAIM = Claim(
    name="a5",
    statement="Random reward: entropy falls as low grows, and rises as high grows",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "paired branches under bernoulli:0.5 in a4's regime, 6 seeds of 8 rollouts, one threshold at .0125, .025, .05, "
        ".1 and the other side off: the slope of the effect on ln H in ln(threshold), by seed, is under 0 for low and "
        "over 0 for high (95% intervals); the number of steps of the ladder that go the right way is reported"
    ),
    measure="ln H a rollout per e-fold of low",
    use=(
        "Use either threshold as a knob: tighter moves entropy more, until it takes so many tokens that nothing is "
        "left to push; do not tune it where it clips nothing"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
)
