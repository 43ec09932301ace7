"""Estimates over samples, problems and seeds: pass@k, mean@k, maj@k and their intervals.

Notation: of one problem n samples were drawn, c of them are right, and k <= n is the
budget that the score speaks of. Each score is the exact expectation over the k-subsets of
the n samples, which makes it unbiased for k fresh samples.

Kinds of interval, by their question. `bootstrap_interval` over problems: how far would
this model's score move on other problems? `seed_interval` over training runs: how far
would the method's score move on another seed? The second is the one that compares
methods; runs share their held-out problems, and the first does not see the noise of
training. `hierarchical_interval` draws both, for scores that are known per run and
problem.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from entrostat.student import noncentrality, t_quantile

Floats = NDArray[np.float64]
Counts = int | Sequence[int] | np.ndarray
Values = Sequence[float | int] | np.ndarray
Limits = tuple[float | int, float | int]
"""The least and the greatest value that a number can have."""
REAL: Limits = (-math.inf, math.inf)
_LARGEST_EXPONENT = 300.0
"""Well under those that overflow."""
# indices that a bootstrap draws at once: 8 MiB
_BLOCK = 2**20


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
    """Probability that at least one of k samples is right, unbiased:
    1 - C(n - c, k) / C(n, k).

    Chen et al. 2021 (arXiv 2107.03374), equation 1, as
    1 - exp(sum_i ln(1 - max(c, k) / (n - i))) over i < min(c, k): the ratio is symmetric
    in c and k, and no factorial overflows or cancels.

    Args:
        n, c, k: integers, or arrays of them that broadcast; float only for integers
            alone.

    Raises:
        ValueError: not integers, or not 0 <= c <= n and 1 <= k <= n.

    >>> round(pass_at_k(4, 2, 2), 6)  # 1 - C(2, 2) / C(4, 2) = 5/6
    0.833333
    >>> pass_at_k(32, [0, 1, 32], 32)
    array([0., 1., 1.])
    """
    n, c, k = _counts(n, c, k)
    # fewer wrong ones than k: the logarithm would be of 0
    sure = n - c < k
    few, many = np.minimum(c, k), np.maximum(c, k)
    log_fail = np.zeros(n.shape)
    for i in range(int(few.max(initial=0))):
        share = np.where((i < few) & ~sure, -many / np.maximum(n - i, 1), 0.0)
        log_fail += np.log1p(share)
    # + 0.0: no -0.0 where c is 0
    passed = np.where(sure, 1.0, -np.expm1(log_fail) + 0.0)
    return passed.item() if passed.ndim == 0 else passed


@overload
def mean_at_k(n: int, c: int, k: int) -> float: ...
@overload
def mean_at_k(n: Counts, c: Counts, k: Counts) -> float | Floats: ...
def mean_at_k(n, c, k):
    """Expected share of right ones among k samples: c / n, whatever k is. Arguments and
    errors of `pass_at_k`.

    >>> mean_at_k(32, 8, 4)
    0.25
    """
    n, c, k = _counts(n, c, k)
    mean = c / n
    return mean.item() if mean.ndim == 0 else mean


def maj_at_k(answers: Sequence[Hashable], correct: Sequence[bool], k: int) -> float:
    """Probability that the majority of k samples is right (self-consistency, arXiv
    2203.11171), over all k-subsets.

    The most frequent answer of the k wins; tied answers share the vote evenly. None
    abstains, and k abstentions are wrong. Exact: it counts the subsets by the winner's
    votes m. Answers seen fewer than m times in all are free (together C(their total,
    votes) ways); a polynomial in the number of votes runs over the others, the rivals.

    Args:
        answers: of the n samples, in a form in which equal answers compare equal.
        correct: whether each is right; equal answers must agree.

    Raises:
        ValueError: lengths that differ, k not in 1..n, or one answer both right and wrong.

    >>> maj_at_k(["7", "7", "9"], [True, True, False], 2)  # 7-7 wins, 7-9 twice is a tie
    0.6666666666666666
    """
    is_right = _judged(answers, correct)
    if not 1 <= k <= len(answers):
        raise ValueError(
            f"k must be in 1..{len(answers)}, the number of answers, got {k}"
        )
    votes = Counter(answer for answer in answers if answer is not None)
    abstentions = len(answers) - votes.total()
    won = Fraction(0)
    for m in range(1, min(k, max(votes.values(), default=0)) + 1):
        free, rivals = abstentions, []
        for answer, count in votes.items():
            if count < m:
                free += count
            else:
                rivals.append((count, is_right[answer]))
        for (used, tied, tied_right), ways in _ways(rivals, m, k).items():
            if tied_right:
                subsets = ways * math.comb(free, k - used)
                won += Fraction(subsets * tied_right, tied)
    return float(won / math.comb(len(answers), k))


def _judged(
    answers: Sequence[Hashable], correct: Sequence[bool]
) -> dict[Hashable, bool]:
    """Whether each answer is right. ValueError where equal answers disagree."""
    if len(answers) != len(correct):
        raise ValueError(
            f"answers and correct must be of one length, got {len(answers)} and "
            f"{len(correct)}"
        )
    is_right: dict[Hashable, bool] = {}
    for answer, verdict in zip(answers, correct, strict=True):
        if is_right.setdefault(answer, bool(verdict)) != bool(verdict):
            raise ValueError(
                "equal answers must be all right or all wrong; normalise answers before "
                "the vote"
            )
    return is_right


def _ways(
    rivals: list[tuple[int, bool]], m: int, k: int
) -> Counter[tuple[int, int, int]]:
    """Ways to draw at most m votes from each rival (votes in all, right), by (votes
    drawn, rivals at m, right ones at m)."""
    states = Counter({(0, 0, 0): 1})
    for count, is_right in rivals:
        after: Counter[tuple[int, int, int]] = Counter()
        for (used, tied, tied_right), ways in states.items():
            for drawn in range(min(m, k - used) + 1):
                at_top = drawn == m
                right_at_top = at_top and is_right
                state = (used + drawn, tied + at_top, tied_right + right_at_top)
                after[state] += ways * math.comb(count, drawn)
        states = after
    return states


def _counts(*values: Counts | np.integer) -> list[NDArray[np.int64]]:
    """n, c and k as arrays of one shape, checked."""
    n, c, k = arrays = np.broadcast_arrays(*values)
    for name, array in zip("nck", arrays, strict=True):
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"{name} must be an integer count, got {array.dtype} {array.ravel()[0]}"
            )
    wrong = (c < 0) | (c > n) | (k < 1) | (k > n)
    if wrong.any():
        at = wrong.argmax()
        raise ValueError(
            f"needs 0 <= c <= n and 1 <= k <= n, got n = {n.ravel()[at]}, "
            f"c = {c.ravel()[at]}, k = {k.ravel()[at]}; draw at least k samples"
        )
    return [array.astype(np.int64) for array in arrays]


def bootstrap_interval(
    values: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Mean over problems with its percentile bootstrap interval (Efron 1979), from a numpy
    generator of its own.

    Problems are resampled, not samples: a value is one problem's score. Where all values
    are equal, or problems are under some 20, the interval is too narrow; that is the
    method's known limit.

    Args:
        values: (problems,), finite, at least two.

    Raises:
        ValueError: values of another shape, fewer than two, or not finite; level not in
            (0, 1); resamples < 1.
    """
    scores = _sample(values, "problems")
    _check_level(level, resamples)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // scores.size)
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(scores.size, size=(size, scores.size))
        means.append(scores[drawn].mean(axis=1))
    return _percentiles(scores, np.concatenate(means), level)


def seed_interval(
    values: Values, *, level: float = 0.95, limits: Limits = REAL
) -> Interval:
    """Mean over seeds with Student's t interval: mean +- t s / sqrt(seeds), s with
    Bessel's correction.

    With the three to five seeds of a usual comparison a bootstrap over seeds is far too
    narrow; t assumes that the scores of runs are about normal and pays for the few with
    its wide tails (4.30 s / sqrt(3) at 3 seeds).

    A number with limits a and b, as a share has 0 and 1, gets its interval on a scale
    without limits (delta method): the mean m goes to the logit of (m - a) / (b - a), the
    half-width is multiplied by that scale's slope there, (b - a) / ((m - a) (b - m)), and
    both ends are carried back. So the interval stays within the limits, is Student's
    where the spread is small beside them, and the estimate is still the mean. With one
    limit the scale is the logarithm of the distance to it. Not taken: the logit of each
    value, which is infinite at a limit and speaks of another mean; a cut at the limits,
    which covers skewed scores less often (down to 0.84, where this has 0.92); a
    bootstrap, since seeds are few. Where all values are equal, as they are when the mean
    is a limit, the interval is that point.

    Args:
        values: (seeds,), one score per training run, finite, at least two, none beyond
            the limits.

    Raises:
        ValueError: values of another shape, fewer than two, not finite, or beyond the
            limits; limits that are none; level not in (0, 1).

    >>> [round(x, 3) for x in seed_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    >>> [round(x, 3) for x in seed_interval([0.5, 0.7, 0.9], limits=(0, 1))]
    [0.7, 0.18, 0.961]
    """
    scores = _sample(values, "seeds")
    _check_level(level)
    low, high = map(float, limits)
    if not low < high:
        raise ValueError(
            f"limits must be the lower and then the upper one, got {limits}"
        )
    if scores.min() < low or scores.max() > high:
        raise ValueError(
            f"values must lie within {limits}, got {scores.min():g} to "
            f"{scores.max():g}; leave limits out, or widen them"
        )
    mean = float(np.clip(scores.mean(), low, high))
    spread = float(scores.std(ddof=1))
    half = t_quantile(level, scores.size - 1) * spread / math.sqrt(scores.size)
    start, end = _ends(mean, half, low, high)
    # rounding may put an end on the wrong side of the mean
    return Interval(mean, min(start, mean), max(end, mean))


def least_effect(values: Values, *, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true mean that a t test over so many seeds, so far apart, would tell from
    0: d s / sqrt(seeds).

    The test is two-sided with 1 - level false alarms, and d is the noncentrality at which
    it rejects with this power (entrostat.student). The usual approximation
    d = t_.975 + t_.80 (Bloom 1995, Minimum Detectable Effects) is 5% too low at 3 seeds.
    The spread s is taken for the true one; a few seeds know it badly. Against a bound
    other than 0 the same number is the distance from the bound.

    Args:
        values: (seeds,), as for `seed_interval`.

    Raises:
        ValueError: as there; power not between 1 - level and 1.

    >>> round(least_effect([0.1, 0.2, 0.3, 0.4, 0.5]), 3)  # s = 0.158
    0.266
    """
    scores = _sample(values, "seeds")
    _check_level(level)
    if not 1 - level < power < 1:
        raise ValueError(
            f"power must be between {1 - level:g} and 1, got {power}; 0.8 is usual"
        )
    d = noncentrality(scores.size - 1, level, power)
    return d * float(scores.std(ddof=1)) / math.sqrt(scores.size)


def hierarchical_interval(
    values: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Mean over training runs and problems with its percentile interval, from a bootstrap
    of both.

    Each resample draws seeds and, for all of them the same, problems: runs are scored on
    one set of problems, so a hard draw is hard for every seed. For two methods with the
    same seeds and problems give the differences: the interval is paired. With one seed it
    is the bootstrap over problems, and the noise of training is not in it; with few it is
    too narrow in that direction, as `seed_interval` says.

    Args:
        values: (seeds, problems), finite, at least two problems.
        seed: of a generator of its own, or a generator to draw from.

    Raises:
        ValueError: values of another shape, too few, or not finite; level not in (0, 1);
            resamples < 1.
    """
    scores = np.asarray(values, dtype=np.float64)
    right_shape = scores.ndim == 2 and scores.shape[0] >= 1 and scores.shape[1] >= 2
    if not right_shape or not np.isfinite(scores).all():
        raise ValueError(
            "values must be finite, (seeds, problems) with at least 2 problems, got "
            f"shape {scores.shape}"
        )
    _check_level(level, resamples)
    rng = np.random.default_rng(seed)
    seeds, problems = scores.shape
    means = []
    for _ in range(resamples):
        drawn_seeds = rng.integers(0, seeds, seeds)
        drawn_problems = rng.integers(0, problems, problems)
        means.append(scores[drawn_seeds][:, drawn_problems].mean())
    return _percentiles(scores, np.array(means), level)


def _percentiles(scores: Floats, means: Floats, level: float) -> Interval:
    """The mean, between the percentiles of the means of the resamples."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(scores.mean()), float(low), float(high))


def _sample(values: Values, what: str) -> Floats:
    """The values as an array, checked. `what`: what each of them belongs to."""
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size < 2:
        raise ValueError(
            f"values must be one number for each of at least 2 {what}, got shape "
            f"{scores.shape}"
        )
    odd = scores[~np.isfinite(scores)]
    if odd.size:
        raise ValueError(
            f"values must be finite, got {odd[0]}; leave out no {what}, mend the score"
        )
    return scores


def _check_level(level: float, resamples: int = 1) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
    if resamples < 1:
        raise ValueError(
            f"resamples must be at least 1, got {resamples}; 10000 is usual"
        )


def _ends(mean: float, half: float, low: float, high: float) -> tuple[float, float]:
    """Of the interval mean +- half, on the logit or logarithmic scale of the limits that
    are finite (see `seed_interval`)."""
    if half == 0 or not low < mean < high:
        return mean, mean
    if math.isinf(low) and math.isinf(high):
        return mean - half, mean + half
    if math.isinf(low):
        start, end = _ends(-mean, half, -high, math.inf)
        return -end, -start
    below, above = mean - low, high - mean
    if math.isinf(high):
        factor = math.exp(min(half / below, _LARGEST_EXPONENT))
        return low + below / factor, low + below * factor
    # the slope of the logit, (below + above) / (below above), times the half-width
    factor = math.exp(min(half / below + half / above, _LARGEST_EXPONENT))
    width = high - low
    start = low + width * below / (below + above * factor)
    end = low + width * below / (below + above / factor)
    return max(start, low), min(end, high)
