"""2602.09782's dynamic thresholds and static ones, each side by itself, by paired branches.

A dynamic threshold is not only of another shape than .2, it is also looser or tighter on the whole. So it is compared
with the static threshold that takes as many tokens, read off a ladder of static ones: their effect at its clip share,
linear between the two nearest, seed by seed. A share that no rung of the ladder reaches has no match: nan.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Mode
from entrostat.reproduce.effects import EffectJob, effect, level, wide

Side = Literal["high", "low"]
NAMES: dict[Side, str] = {"high": "upper", "low": "lower"}
PLAIN = make_method("grpo")
DYNAMIC: dict[Side, Method] = {
    "high": make_method("dynamic", lower_dynamic=False),
    "low": make_method("dynamic", upper_dynamic=False),
}
"""The dynamic threshold on one side, .2 on the other."""
VALUES: dict[Side, tuple[float, ...]] = {
    "high": (0.2, 0.3, 0.4, 0.5),
    "low": (0.2, 0.25, 0.3),
}
"""The ladder, with .2 on the other side."""


def static(side: Side, value: float) -> Method:
    """A rung."""
    return make_method("grpo", **{side: value})


METHODS: tuple[Method, ...] = (
    PLAIN,
    *DYNAMIC.values(),
    *(
        static(side, value)
        for side, values in VALUES.items()
        for value in values
        if value != 0.2
    ),
)
"""The base, .2/.2, is a rung of both ladders."""


def job(mode: Mode) -> EffectJob:
    """Both dynamic thresholds and both ladders against .2/.2, on countdown."""
    return EffectJob(wide(mode), METHODS, len(mode.repeats(8, fast=3)))


def arm(method: Method) -> int:
    """A method's place in the measurement."""
    return METHODS.index(method)


def matched(rows: Sequence[dict[str, Any]], side: Side) -> list[float]:
    """The effect on ln H of the static threshold that takes as many tokens as the dynamic one, a value a seed."""
    rungs = [arm(static(side, value)) for value in VALUES[side]]
    shares = np.array([level(rows, rung, f"clip_{side}") for rung in rungs])
    effects = np.array([effect(rows, rung) for rung in rungs])
    taken = level(rows, arm(DYNAMIC[side]), f"clip_{side}")
    return [
        _at(shares[:, seed], effects[:, seed], share)
        for seed, share in enumerate(taken)
    ]


def equal(rows: Sequence[dict[str, Any]], side: Side) -> float:
    """The static threshold that takes as many tokens as the dynamic one, all seeds together."""
    shares = [
        float(np.mean(level(rows, arm(static(side, value)), f"clip_{side}")))
        for value in VALUES[side]
    ]
    taken = float(np.mean(level(rows, arm(DYNAMIC[side]), f"clip_{side}")))
    return _at(shares, VALUES[side], taken)


def _at(
    shares: Sequence[float] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    share: float,
) -> float:
    """The value at a share, linear between the two nearest rungs; nan beyond them."""
    order = np.argsort(shares)
    ordered, found = np.asarray(shares)[order], np.asarray(values)[order]
    return float(np.interp(share, ordered, found, left=math.nan, right=math.nan))
