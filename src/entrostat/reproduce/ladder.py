"""2602.09782's dynamic thresholds and static ones, each side alone, by paired branches.

A dynamic threshold is not only of another shape than 0.2. It is also looser or tighter
on the whole. So it is compared with the static threshold that takes as many tokens.
That one is read off a ladder of static thresholds, seed by seed: the effect at the
dynamic one's clip share, linear between the two nearest rungs. A share that no rung
reaches has no match: nan.
"""

import math
from typing import Literal

import numpy as np

from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Mode
from entrostat.reproduce.effects import EffectJob, Rows, effect, level, wide

Side = Literal["high", "low"]
NAMES: dict[Side, str] = {"high": "upper", "low": "lower"}
PLAIN_VALUE = 0.2
PLAIN = make_method("grpo")
"""0.2/0.2, the base. It is a rung of both ladders."""
DYNAMIC: dict[Side, Method] = {
    "high": make_method("dynamic", lower_dynamic=False),
    "low": make_method("dynamic", upper_dynamic=False),
}
"""The dynamic threshold on one side, 0.2 on the other."""
VALUES: dict[Side, tuple[float, ...]] = {
    "high": (0.2, 0.3, 0.4, 0.5),
    "low": (0.2, 0.25, 0.3),
}
"""The ladders, each with 0.2 on the other side."""


def static(side: Side, value: float) -> Method:
    """A rung."""
    return make_method("grpo", **{side: value})


def _further_rungs(side: Side) -> list[Method]:
    return [static(side, value) for value in VALUES[side] if value != PLAIN_VALUE]


METHODS: tuple[Method, ...] = (
    PLAIN,
    *DYNAMIC.values(),
    *_further_rungs("high"),
    *_further_rungs("low"),
)


def job(mode: Mode) -> EffectJob:
    """Both dynamic thresholds and both ladders against 0.2/0.2, on countdown."""
    return EffectJob(wide(mode), METHODS, mode.count(8, fast=3))


def arm(method: Method) -> int:
    """A method's number in the measurement."""
    return METHODS.index(method)


def matched(rows: Rows, side: Side) -> list[float]:
    """The effect on ln H of the static threshold that takes as many tokens as the
    dynamic one, one per seed.
    """
    effects = [effect(rows, rung) for rung in _rungs(side)]
    by_dynamic = level(rows, arm(DYNAMIC[side]), f"clip_{side}")
    shares = _shares(rows, side)
    return list(map(_at, np.transpose(shares), np.transpose(effects), by_dynamic))


def equal(rows: Rows, side: Side) -> float:
    """The static threshold that takes as many tokens as the dynamic one, over all
    seeds.
    """
    by_dynamic = level(rows, arm(DYNAMIC[side]), f"clip_{side}")
    shares = np.mean(_shares(rows, side), axis=1)
    return _at(shares, np.array(VALUES[side]), float(np.mean(by_dynamic)))


def _rungs(side: Side) -> list[int]:
    return [arm(static(side, value)) for value in VALUES[side]]


def _shares(rows: Rows, side: Side) -> list[list[float]]:
    """What each rung took: for each the shares of all seeds."""
    return [level(rows, rung, f"clip_{side}") for rung in _rungs(side)]


def _at(shares: np.ndarray, values: np.ndarray, share: float) -> float:
    """The value at a share, linear between the two nearest rungs; nan beyond them."""
    # np.interp wants rising shares, and a tighter rung takes more tokens
    order = np.argsort(shares)
    rising, at_rising = shares[order], values[order]
    return float(np.interp(share, rising, at_rising, left=math.nan, right=math.nan))
