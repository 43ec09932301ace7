"""A bootstrap over prompt groups that needs one pass and no list of groups.

In each resample each group counts k times, k drawn from Poisson(1): the Poisson
bootstrap of Hanley and MacGibbon 2006 (doi 10.1016/j.cmpb.2006.04.006) and Chamandy et
al. 2012 ("Estimating uncertainty for massive data streams"). The draw is a hash of the
group's key and the resample's number. So parts of a group that lie far apart in the
stream get the same draw, and equal dumps get the same interval.
"""

import math

import numpy as np
from numpy.typing import NDArray

from entrostat.diagnose.types import Floats, Ints

RESAMPLES = 400
_GROUPS_AT_ONCE = 2**12
"""Groups whose draws are held at a time: 13 MB of them."""
# P(k <= 0), P(k <= 1), ... of Poisson(1), up to the last that is not 1 in float64
_CUMULATIVE = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(18)])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""SplitMix64's increment: 2^64 over the golden ratio, odd."""


class Resamples:
    """Sums over groups of `values` numbers in each resample, (RESAMPLES, values)."""

    def __init__(self, values: int):
        self.sums: Floats = np.zeros((RESAMPLES, values))

    def add(self, keys: Ints, values: Floats) -> None:
        """Adds (groups, values), or parts of them, under keys (groups, width)."""
        for start in range(0, len(keys), _GROUPS_AT_ONCE):
            some = slice(start, start + _GROUPS_AT_ONCE)
            self.sums += draws(keys[some]).T @ values[some]


def draws(keys: Ints) -> Floats:
    """How often each group is in each resample, (groups, RESAMPLES).

    Poisson(1), and a pure function of the key.
    """
    state = np.zeros(len(keys), np.uint64)
    for column in keys.T:
        state = _mixed(state ^ _mixed(column.astype(np.uint64)))
    steps = np.arange(1, RESAMPLES + 1, dtype=np.uint64) * _GOLDEN
    # the top 53 bits are a float64 in [0, 1) without rounding
    uniform = (_mixed(state[:, None] + steps) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(_CUMULATIVE, uniform, side="right").astype(np.float64)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014).

    One bit that differs in `x` changes half of the bits of the result.
    """
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
