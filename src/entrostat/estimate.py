"""Estimates over samples, problems and seeds: pass@k, mean@k, maj@k and their intervals.

Notation: of one problem n samples were drawn, c of them are right, and k <= n is the budget that the score speaks of.
Each score is the exact expectation over the k-subsets of the n samples, which makes it unbiased for k fresh samples.

Kinds of interval, by their question. `bootstrap_interval` over problems: how far would this model's score move on other
problems? `seed_interval` over training runs: how far would the method's score move on another seed? The second is the
one that compares methods; runs share their held-out problems, and the first does not see the noise of training.
`hierarchical_interval` draws both, for scores that are known per run and problem.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = int | Sequence[int] | np.ndarray
Values = Sequence[float | int] | np.ndarray
Limits = tuple[float | int, float | int]
"""The least and the greatest value that a number can have."""
REAL: Limits = (-math.inf, math.inf)


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(n: Counts, c: Counts, k: Counts) -> float | Floats: ...
def pass_at_k(n, c, k):
    """Probability that at least one of k samples is right, unbiased: 1 - C(n - c, k) / C(n, k).

    Chen et al. 2021 (arXiv 2107.03374), equation 1, as 1 - exp(sum_i ln(1 - max(c, k) / (n - i))) over
    i < min(c, k): the ratio is symmetric in c and k, and no factorial overflows or cancels.

    Args:
        n, c, k: integers, or arrays of them that broadcast; float only for integers alone.

    Raises:
        ValueError: not integers, or not 0 <= c <= n and 1 <= k <= n.

    >>> pass_at_k(4, 2, 2)  # 1 - C(2, 2) / C(4, 2) = 5/6
    0.8333333333333334
    >>> pass_at_k(32, [0, 1, 32], 32)
    array([0., 1., 1.])
    """
    n, c, k = _counts(n, c, k)
    sure = n - c < k
    few, many = np.minimum(c, k), np.maximum(c, k)
    log_fail = np.zeros(n.shape)
    for i in range(int(few.max(initial=0))):
        log_fail += np.log1p(
            np.where((i < few) & ~sure, -many / np.maximum(n - i, 1), 0.0)
        )
    passed = np.where(sure, 1.0, -np.expm1(log_fail) + 0.0)
    return passed.item() if passed.ndim == 0 else passed


@overload
def mean_at_k(n: int, c: int, k: int) -> float: ...
@overload
def mean_at_k(n: Counts, c: Counts, k: Counts) -> float | Floats: ...
def mean_at_k(n, c, k):
    """Expected share of right ones among k samples: c / n, whatever k is. Arguments and errors of `pass_at_k`.

    >>> mean_at_k(32, 8, 4)
    0.25
    """
    n, c, k = _counts(n, c, k)
    mean = c / n
    return mean.item() if mean.ndim == 0 else mean


def maj_at_k(answers: Sequence[Hashable], correct: Sequence[bool], k: int) -> float:
    """Probability that the majority of k samples is right (self-consistency, arXiv 2203.11171), over all k-subsets.

    The most frequent answer of the k wins; tied answers share the vote evenly. None abstains, and k abstentions are
    wrong. Exact: it counts the subsets by the winner's votes m. Answers seen fewer than m times in all are free
    (together C(their total, votes) ways); a polynomial in the number of votes runs over the others.

    Args:
        answers: of the n samples, in a form in which equal answers compare equal.
        correct: whether each is right; equal answers must agree.

    Raises:
        ValueError: lengths that differ, k not in 1..n, or one answer both right and wrong.

    >>> maj_at_k(["7", "7", "9"], [True, True, False], 2)  # 7-7 wins, 7-9 twice is a tie
    0.6666666666666666
    """
    if len(answers) != len(correct):
        raise ValueError(
            f"answers and correct must be of one length, got {len(answers)} and {len(correct)}"
        )
    if not 1 <= k <= len(answers):
        raise ValueError(
            f"k must be in 1..{len(answers)}, the number of answers, got {k}"
        )
    right = dict(zip(answers, map(bool, correct), strict=True))
    if any(
        right[answer] != bool(is_right)
        for answer, is_right in zip(answers, correct, strict=True)
    ):
        raise ValueError(
            "equal answers must be all right or all wrong; normalise answers before the vote"
        )
    votes = Counter(answer for answer in answers if answer is not None)
    abstain = len(answers) - votes.total()
    won = Fraction(0)
    for m in range(1, min(k, max(votes.values(), default=0)) + 1):
        free = abstain + sum(count for count in votes.values() if count < m)
        rivals = [
            (count, right[answer]) for answer, count in votes.items() if count >= m
        ]
        for (used, tied, tied_right), ways in _ways(rivals, m, k).items():
            if tied_right:
                won += Fraction(ways * math.comb(free, k - used) * tied_right, tied)
    return float(won / math.comb(len(answers), k))


def bootstrap_interval(
    values: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Mean over problems with its percentile bootstrap interval (Efron 1979), from a numpy generator of its own.

    Problems are resampled, not samples: a value is one problem's score. Where all values are equal, or problems are
    under some 20, the interval is too narrow; that is the method's known limit.

    Args:
        values: (problems,), finite, at least two.

    Raises:
        ValueError: values of another shape, fewer than two, or not finite; level not in (0, 1); resamples < 1.
    """
    x = _sample(values, "problems")
    _check_level(level)
    if resamples < 1:
        raise ValueError(
            f"resamples must be at least 1, got {resamples}; 10000 is usual"
        )
    rng = np.random.default_rng(seed)
    block = max(1, 2**20 // x.size)  # bounds the memory of the indices
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    means = np.concatenate(
        [x[rng.integers(x.size, size=(size, x.size))].mean(axis=1) for size in sizes]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high))


def seed_interval(
    values: Values, *, level: float = 0.95, limits: Limits = REAL
) -> Interval:
    """Mean over seeds with Student's t interval: mean +- t s / sqrt(seeds), s with Bessel's correction.

    With the three to five seeds of a usual comparison a bootstrap over seeds is far too narrow; t assumes that the
    scores of runs are about normal and pays for the few with its wide tails (4.30 s / sqrt(3) at 3 seeds).

    A number with limits a and b, as a share has 0 and 1, gets its interval on a scale without limits (delta method):
    the mean m goes to the logit of (m - a) / (b - a), the half-width is multiplied by that scale's slope there,
    (b - a) / ((m - a) (b - m)), and both ends are carried back. So the interval stays within the limits, is Student's
    where the spread is small beside them, and the estimate is still the mean. With one limit the scale is the logarithm
    of the distance to it. Not taken: the logit of each value, which is infinite at a limit and speaks of another mean;
    a cut at the limits, which covers skewed scores less often (down to .84, where this has .92); a bootstrap, since
    seeds are few.

    Where all values are equal, as they are when the mean is a limit, the interval is that point.

    Args:
        values: (seeds,), one score per training run, finite, at least two, none beyond the limits.

    Raises:
        ValueError: values of another shape, fewer than two, not finite, or beyond the limits; limits that are none;
            level not in (0, 1).

    >>> [round(x, 3) for x in seed_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    >>> [round(x, 3) for x in seed_interval([0.5, 0.7, 0.9], limits=(0, 1))]
    [0.7, 0.18, 0.961]
    """
    x = _sample(values, "seeds")
    _check_level(level)
    low, high = map(float, limits)
    if not low < high:
        raise ValueError(
            f"limits must be the lower and then the upper one, got {limits}"
        )
    if x.min() < low or x.max() > high:
        raise ValueError(
            f"values must lie within {limits}, got {x.min():g} to {x.max():g}; leave limits out, or widen them"
        )
    mean = float(np.clip(x.mean(), low, high))
    half = _t_quantile(level, x.size - 1) * float(x.std(ddof=1)) / math.sqrt(x.size)
    start, end = _ends(mean, half, low, high)
    return Interval(mean, min(start, mean), max(end, mean))  # what rounding took


def least_effect(values: Values, *, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true mean that a t test over so many seeds, so far apart, would tell from 0: d s / sqrt(seeds).

    The test is two-sided with 1 - level false alarms. d is the noncentrality at which it rejects with this power,

        P(|T'| > t) = E[Phi(d - t w) + Phi(-d - t w)] = power,   w = sqrt(chi2 / (seeds - 1)),

    with T' of the noncentral t distribution and t the quantile of `seed_interval` (Cohen 1988, Statistical Power
    Analysis, chapter 2; the usual approximation d = t_.975 + t_.80 of Bloom 1995, Minimum Detectable Effects, is 5% too
    low at 3 seeds). The spread s is taken for the true one; a few seeds know it badly. Against a bound other than 0 the
    same number is the distance from the bound.

    Args:
        values: (seeds,), as for `seed_interval`.

    Raises:
        ValueError: as there; power not between 1 - level and 1.

    >>> round(least_effect([0.1, 0.2, 0.3, 0.4, 0.5]), 3)  # s = .158
    0.266
    """
    x = _sample(values, "seeds")
    _check_level(level)
    if not 1 - level < power < 1:
        raise ValueError(
            f"power must be between {1 - level:g} and 1, got {power}; 0.8 is usual"
        )
    return (
        _noncentrality(x.size - 1, level, power)
        * float(x.std(ddof=1))
        / math.sqrt(x.size)
    )


def hierarchical_interval(
    values: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Mean over training runs and problems with its percentile interval, from a bootstrap of both.

    Each resample draws seeds and, for all of them the same, problems: runs are scored on one set of problems, so a hard
    draw is hard for every seed. For two methods with the same seeds and problems give the differences: the interval is
    paired. With one seed it is the bootstrap over problems, and the noise of training is not in it; with few it is too
    narrow in that direction, as `seed_interval` says.

    Args:
        values: (seeds, problems), finite, at least two problems.
        seed: of a generator of its own, or a generator to draw from.

    Raises:
        ValueError: values of another shape, too few, or not finite; level not in (0, 1); resamples < 1.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < 2 or not np.isfinite(x).all():
        raise ValueError(
            f"values must be finite, (seeds, problems) with at least 2 problems, got shape {x.shape}"
        )
    _check_level(level)
    if resamples < 1:
        raise ValueError(
            f"resamples must be at least 1, got {resamples}; 10000 is usual"
        )
    rng = np.random.default_rng(seed)
    seeds, problems = x.shape
    means = [
        x[rng.integers(0, seeds, seeds)][:, rng.integers(0, problems, problems)].mean()
        for _ in range(resamples)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(x.mean()), float(low), float(high))


def _counts(*values: Counts | np.integer) -> list[NDArray[np.int64]]:
    n, c, k = arrays = np.broadcast_arrays(*values)
    for name, array in zip("nck", arrays, strict=True):
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"{name} must be an integer count, got {array.dtype} {array.ravel()[0]}"
            )
    wrong = (c < 0) | (c > n) | (k < 1) | (k > n)
    if wrong.any():
        at = tuple(index[0] for index in np.nonzero(np.atleast_1d(wrong)))
        got = ", ".join(
            f"{name} = {np.atleast_1d(a)[at]}"
            for name, a in zip("nck", arrays, strict=True)
        )
        raise ValueError(
            f"needs 0 <= c <= n and 1 <= k <= n, got {got}; draw at least k samples"
        )
    return [array.astype(np.int64) for array in arrays]


def _ways(
    rivals: list[tuple[int, bool]], m: int, k: int
) -> Counter[tuple[int, int, int]]:
    """Ways to draw from each rival (votes in all, right) at most m, by (votes drawn, rivals at m, right ones at m)."""
    states = Counter({(0, 0, 0): 1})
    for count, is_right in rivals:
        after: Counter[tuple[int, int, int]] = Counter()
        for (used, tied, tied_right), ways in states.items():
            for drawn in range(min(m, k - used) + 1):
                top = drawn == m
                after[used + drawn, tied + top, tied_right + (top and is_right)] += (
                    ways * math.comb(count, drawn)
                )
        states = after
    return states


def _sample(values: Values, what: str) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(
            f"values must be one number for each of at least 2 {what}, got shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"values must be finite, got {x[~np.isfinite(x)][0]}; leave out no {what}, mend the score"
        )
    return x


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}; 0.95 is usual")


def _ends(mean: float, half: float, low: float, high: float) -> tuple[float, float]:
    """Of the interval mean +- half, on the logit or logarithmic scale of the limits that are finite."""
    if half == 0 or not low < mean < high:
        return mean, mean
    if math.isinf(low) and math.isinf(high):
        return mean - half, mean + half
    if math.isinf(low):
        start, end = _ends(-mean, half, -high, math.inf)
        return -end, -start
    below, above = mean - low, high - mean
    if math.isinf(high):
        factor = math.exp(min(half / below, _LARGEST))
        return low + below / factor, low + below * factor
    factor = math.exp(min(half / below + half / above, _LARGEST))
    width = high - low
    start = low + width * below / (below + above * factor)
    end = low + width * below / (below + above / factor)
    return max(start, low), min(end, high)


_LARGEST = 300.0
"""Of exponents, well under those that overflow."""


@lru_cache(maxsize=256)
def _noncentrality(freedom: int, level: float, power: float) -> float:
    """d with P(|T'| > t) = power for the noncentral T' at d, by bisection; the expectation over w on a fixed grid."""
    t = _t_quantile(level, freedom)
    reach = 8 / math.sqrt(freedom)  # w is 1 +- 1 / sqrt(2 freedom), about
    start = max(0.0, 1 - reach)
    step = (1 + reach - start) / 500
    w = start + step * (np.arange(500) + 0.5)
    log_density = (freedom - 1) * np.log(w) - freedom * w**2 / 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()

    def rejected(d: float) -> float:
        chances = [_normal_cdf(d - t * x) + _normal_cdf(-d - t * x) for x in w.tolist()]
        return float(density @ np.array(chances))

    low, high = 0.0, t * (1 + reach) + 10
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) < power else (low, middle)
    return (low + high) / 2


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


@lru_cache(maxsize=256)
def _t_quantile(level: float, freedom: int) -> float:
    """t with P(|T| <= t) = level for Student's T, by bisection of its finite sum at integer degrees of freedom."""
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(freedom))
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _t_central(middle, freedom) < level else (low, middle)
        )
    return math.sqrt(freedom) * math.tan(low)


def _t_central(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle)): Abramowitz and Stegun 1964, 26.7.3 (odd) and 26.7.4 (even)."""
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for j in range(odd + 1, freedom + odd, 2):
        total += term
        term *= math.cos(angle) ** 2 * j / (j + 1)
    return (
        2 / math.pi * (angle + math.sin(angle) * total)
        if odd
        else math.sin(angle) * total
    )
