"""Student's t distribution, central and noncentral, at integer degrees of freedom.

By hand and not from scipy: comparisons also run where scipy is not installed
(bench/regime_gpu.py on a rented GPU), and two functions are all that is needed of it.
tests/test_estimate.py holds them against published tables and against simulation.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

_HALVINGS = 80
"""From pi/2 down to 1e-24, below what a float64 near the root can tell apart."""
_POWER_HALVINGS = 50
_GRID = 500
"""Points of the expectation over w; a midpoint sum converges fast on a smooth bell."""


@lru_cache(maxsize=256)
def t_quantile(level: float, freedom: int) -> float:
    """t with P(|T| <= t) = level for Student's T."""
    # by the angle atan(t / sqrt(freedom)), which is bounded where t is not
    low, _ = _bisected(
        lambda angle: _inside(angle, freedom) < level, 0.0, math.pi / 2, _HALVINGS
    )
    return math.sqrt(freedom) * math.tan(low)


def _inside(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle)), a finite sum: Abramowitz and Stegun 1964,
    Handbook of Mathematical Functions, 26.7.3 (odd) and 26.7.4 (even).

    With a = angle, for odd freedom it is

        2/pi [a + sin a (cos a + 2/3 cos^3 a + 2/3 4/5 cos^5 a + ...)],

    and for even freedom

        sin a [1 + 1/2 cos^2 a + 1/2 3/4 cos^4 a + ...],

    both up to the power freedom - 2.
    """
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for j in range(odd + 1, freedom + odd, 2):
        total += term
        term *= math.cos(angle) ** 2 * j / (j + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


@lru_cache(maxsize=256)
def noncentrality(freedom: int, level: float, power: float) -> float:
    """d at which a two-sided t test with 1 - level false alarms rejects with this power.

        P(|T'| > t) = E[Phi(d - t w) + Phi(-d - t w)] = power,   w = sqrt(chi2 / freedom),

    with T' of the noncentral t distribution at d, t = t_quantile(level, freedom), and Phi
    the normal distribution function (Cohen 1988, Statistical Power Analysis, chapter 2).
    """
    t = t_quantile(level, freedom)
    # w is about 1 +- 1 / sqrt(2 freedom): eleven standard deviations are enough
    reach = 8 / math.sqrt(freedom)
    start = max(0.0, 1 - reach)
    step = (1 + reach - start) / _GRID
    w = start + step * (np.arange(_GRID) + 0.5)
    # of w, up to a factor: w^(freedom - 1) exp(-freedom w^2 / 2)
    log_density = (freedom - 1) * np.log(w) - freedom * w**2 / 2
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()

    def rejected(d: float) -> float:
        """The power at d."""
        chances = []
        for scale in w.tolist():
            chances.append(_normal_cdf(d - t * scale) + _normal_cdf(-d - t * scale))
        return float(weights @ np.array(chances))

    low, high = _bisected(
        lambda d: rejected(d) < power, 0.0, t * (1 + reach) + 10, _POWER_HALVINGS
    )
    return (low + high) / 2


def _normal_cdf(x: float) -> float:
    # erfc and not 1 + erf, which loses the lower tail
    return math.erfc(-x / math.sqrt(2)) / 2


def _bisected(
    is_below: Callable[[float], bool], low: float, high: float, halvings: int
) -> tuple[float, float]:
    """The interval in which `is_below` turns from True to False."""
    for _ in range(halvings):
        middle = (low + high) / 2
        if is_below(middle):
            low = middle
        else:
            high = middle
    return low, high
