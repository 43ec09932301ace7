import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat import pass_at_k
from entrostat.estimate import (
    Interval,
    bootstrap_interval,
    hierarchical_interval,
    least_effect,
    maj_at_k,
    mean_at_k,
    seed_interval,
)


@st.composite
def counts(draw, most=3000):
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


def test_pass_at_k_is_exact_for_every_small_count():
    cases = [(n, c, k) for n in range(1, 13) for c in range(n + 1) for k in range(1, n + 1)]
    ours = pass_at_k(*(np.array(column) for column in zip(*cases, strict=True)))
    for case, value in zip(cases, ours, strict=True):
        assert value == pytest.approx(float(reference.pass_at_k(*case)), rel=1e-13)
        assert pass_at_k(*case) == value


@given(counts())
def test_pass_at_k_keeps_its_relative_precision_at_any_size(case):
    assert pass_at_k(*case) == pytest.approx(float(reference.pass_at_k(*case)), rel=1e-11)


@given(counts(60))
def test_pass_at_k_is_exactly_zero_and_one_where_it_must_be(case):
    n, c, k = case
    value = pass_at_k(n, c, k)
    assert (value == 0.0) == (c == 0)
    assert (value == 1.0) == (n - c < k)
    assert math.copysign(1, value) == 1


@given(counts(60))
def test_pass_at_k_of_one_is_the_mean_and_more_samples_never_hurt(case):
    n, c, k = case
    assert pass_at_k(n, c, 1) == pytest.approx(mean_at_k(n, c, k), rel=1e-12)
    assert pass_at_k(n, c, k) >= pass_at_k(n, c, max(1, k - 1)) - 1e-15


def test_pass_at_k_is_the_mean_over_subsets():
    right = [True, False, False, True, False, False]
    subsets = list(combinations(right, 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_integers_give_a_float_and_arrays_broadcast():
    assert type(pass_at_k(8, 2, 4)) is float
    assert type(pass_at_k(np.int64(8), 2, np.int32(4))) is float
    curve = pass_at_k(32, np.array([[0], [3], [32]]), [1, 4, 32])
    assert curve.shape == (3, 3)
    assert curve[1].tolist() == [pass_at_k(32, 3, k) for k in (1, 4, 32)]
    assert pass_at_k(8, np.array([], dtype=int), 2).shape == (0,)
    assert pass_at_k(np.uint8(3), np.uint8(3), np.uint8(3)) == 1.0


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ((4, 5, 2), "got n = 4, c = 5, k = 2"),
        ((4, 2, 5), "got n = 4, c = 2, k = 5"),
        ((4, 2, 0), "k = 0"),
        ((4, -1, 2), "c = -1"),
        ((-4, 0, 1), "n = -4"),
        ((4, [0, 1, 9], 2), "c = 9"),
        ((4, np.array([0.5]), 2), "c must be an integer count, got float64 0.5"),
    ],
)
@pytest.mark.parametrize("function", [pass_at_k, mean_at_k])
def test_counts_that_cannot_be_are_refused(function, case, message):
    with pytest.raises(ValueError, match=message):
        function(*case)


# maj@k

vote = st.sampled_from(["a", "b", "c", "d", None])


@given(st.lists(vote, min_size=1, max_size=9), st.sets(st.sampled_from("abcd")), st.data())
def test_maj_at_k_is_the_mean_over_all_subsets(answers, right, data):
    k = data.draw(st.integers(1, len(answers)))
    correct = [answer in right for answer in answers]
    assert maj_at_k(answers, correct, k) == pytest.approx(float(reference.maj_at_k(answers, correct, k)), rel=1e-12)


def test_maj_at_k_of_one_is_the_mean_and_of_all_is_the_vote():
    answers = [7, 7, 9, None, 9, 7]
    correct = [answer == 7 for answer in answers]
    assert maj_at_k(answers, correct, 1) == 0.5
    assert maj_at_k(answers, correct, 6) == 1.0


def test_ties_split_evenly_and_abstentions_never_win():
    assert maj_at_k(["a", "b", "c"], [True, False, False], 3) == pytest.approx(1 / 3)
    assert maj_at_k([None, None, "a"], [False, False, True], 3) == 1.0
    assert maj_at_k([None, None], [False, False], 2) == 0.0


def test_maj_at_k_is_exact_at_the_size_of_an_evaluation():
    """Two answers, 33 to 31 of 64: the exact binomial sum."""
    answers = [True] * 33 + [False] * 31
    ways = [math.comb(33, i) * math.comb(31, 32 - i) for i in range(33)]
    expected = Fraction(2 * sum(ways[17:]) + ways[16], 2 * math.comb(64, 32))
    assert maj_at_k(answers, answers, 32) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("answers", "correct", "k", "message"),
    [
        (["a"], [True, False], 1, "one length, got 1 and 2"),
        (["a", "b"], [True, False], 3, r"k must be in 1\.\.2"),
        (["a", "b"], [True, False], 0, r"k must be in 1\.\.2"),
        (["a", "a"], [True, False], 1, "all right or all wrong"),
    ],
)
def test_votes_that_make_no_sense_are_refused(answers, correct, k, message):
    with pytest.raises(ValueError, match=message):
        maj_at_k(answers, correct, k)


# Intervals


def scores(n, seed=0):
    return np.random.default_rng(seed).beta(0.6, 0.9, size=n)


def test_the_bootstrap_agrees_with_the_normal_limit_and_holds_the_mean():
    x = scores(2000)
    interval = bootstrap_interval(x)
    half = 1.959964 * x.std() / math.sqrt(len(x))
    assert interval.value == pytest.approx(x.mean())
    assert interval.low == pytest.approx(x.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(x.mean() + half, abs=0.05 * half)


def test_the_bootstrap_covers_what_it_says():
    """128 problems, 400 draws of them: coverage .95 within three standard errors, .033."""
    truth = 0.6 / 1.5
    hits = 0
    for seed in range(400):
        interval = bootstrap_interval(scores(128, seed), resamples=1000, seed=seed)
        hits += interval.low <= truth <= interval.high
    assert abs(hits / 400 - 0.95) < 0.033


def test_the_bootstrap_is_its_seed_s_and_leaves_numpy_s_own_generator_alone():
    x = scores(50)
    before = np.random.get_state()[1].copy()
    assert bootstrap_interval(x, seed=3) == bootstrap_interval(x.tolist(), seed=3) != bootstrap_interval(x, seed=4)
    assert (np.random.get_state()[1] == before).all()


@given(st.lists(st.integers(0, 32), min_size=2, max_size=40), st.integers(-3, 3))
def test_the_bootstrap_moves_with_its_values(correct, shift):
    x = np.array(correct) / 32
    here, there = bootstrap_interval(x, resamples=200), bootstrap_interval(x + shift, resamples=200)
    assert np.allclose(np.array(there) - shift, here, atol=1e-12)
    assert x.min() - 1e-12 <= here.low <= here.high <= x.max() + 1e-12


def test_blocks_bound_the_memory_and_change_nothing():
    x = scores(300_000)
    rng = np.random.default_rng(0)
    means = [x[rng.integers(x.size, size=x.size)].mean() for _ in range(7)]
    ours = bootstrap_interval(x, level=0.5, resamples=7)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(means, [0.25, 0.75])))


def test_a_higher_level_is_wider():
    x = scores(40)
    for function in (bootstrap_interval, seed_interval):
        narrow, wide = function(x, level=0.8), function(x, level=0.99)
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize(
    ("level", "freedom", "t"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 3, 3.1824),
        (0.95, 4, 2.7764),
        (0.99, 3, 5.8409),
        (0.90, 9, 1.8331),
        (0.95, 10, 2.2281),
        (0.95, 30, 2.0423),
        (0.99, 120, 2.6174),
    ],
)
def test_the_seed_interval_uses_the_published_quantiles_of_t(level, freedom, t):
    x = np.linspace(0, 1, freedom + 1)
    mean, low, high = seed_interval(x, level=level)
    assert (high - mean) / (x.std(ddof=1) / math.sqrt(x.size)) == pytest.approx(t, abs=6e-5)
    assert mean - low == pytest.approx(high - mean)


def test_three_seeds_are_covered_as_often_as_said():
    draws = np.random.default_rng(0).normal(size=(4000, 3))
    hits = sum(low <= 0 <= high for _, low, high in map(seed_interval, draws))
    assert abs(hits / 4000 - 0.95) < 0.0104  # three standard errors


@pytest.mark.parametrize("function", [bootstrap_interval, seed_interval])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "at least 2"),
        ([], "at least 2"),
        (np.ones((2, 2)), r"got shape \(2, 2\)"),
        ([1.0, math.nan], "must be finite, got nan"),
        ([math.inf, 1.0], "must be finite, got inf"),
    ],
)
def test_values_without_an_interval_are_refused(function, values, message):
    with pytest.raises(ValueError, match=message):
        function(values)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
@pytest.mark.parametrize("function", [bootstrap_interval, seed_interval])
def test_a_level_is_a_probability(function, level):
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        function([1.0, 2.0], level=level)


def test_no_resamples_are_refused():
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        bootstrap_interval([1.0, 2.0], resamples=0)


# Numbers that have limits

SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def logit(x):
    return math.log(x / (1 - x))


@given(SHARES)
def test_an_interval_stays_within_its_limits(values):
    for low, high in ((0, 1), (-1, 1), (0, math.inf), (-math.inf, 1)):
        value, start, end = seed_interval(values, limits=(low, high))
        assert low <= start <= value <= end <= high
        assert value == pytest.approx(np.mean(values), abs=1e-15)


@given(SHARES)
def test_limits_mirror_each_other(values):
    """1 - x is a share as x is, and 1 - 2x lives within +-1: the same interval, seen from the other side."""
    value, start, end = seed_interval(values, limits=(0, 1))
    turned = seed_interval([1 - v for v in values], limits=(0, 1))
    assert turned == pytest.approx((1 - value, 1 - end, 1 - start), abs=1e-9)
    doubled = seed_interval([2 * v - 1 for v in values], limits=(-1, 1))
    assert doubled == pytest.approx((2 * value - 1, 2 * start - 1, 2 * end - 1), abs=1e-9)
    amount = seed_interval(values, limits=(0, math.inf))
    debt = seed_interval([-v for v in values], limits=(-math.inf, 0))
    assert debt == pytest.approx((-amount.value, -amount.high, -amount.low))


def test_a_share_s_interval_is_symmetric_in_its_logit_and_an_amount_s_in_its_logarithm():
    x = [0.5, 0.7, 0.9]
    half = seed_interval(x).high - 0.7
    _, low, high = seed_interval(x, limits=(0, 1))
    assert logit(high) - logit(0.7) == pytest.approx(half / (0.7 * 0.3))
    assert logit(0.7) - logit(low) == pytest.approx(half / (0.7 * 0.3))
    _, low, high = seed_interval(x, limits=(0, math.inf))
    assert math.log(high / 0.7) == pytest.approx(half / 0.7) == pytest.approx(math.log(0.7 / low))


def test_limits_far_away_change_nothing():
    x = [0.5, 0.501, 0.503]
    assert seed_interval(x, limits=(0, 1)) == pytest.approx(seed_interval(x), rel=1e-4)
    assert seed_interval(x, limits=(-1e6, 1e6)) == pytest.approx(seed_interval(x), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_shares_are_a_point(value):
    assert seed_interval([value] * 4, limits=(0, 1)) == pytest.approx((value, value, value))


def test_spreads_that_no_exponential_holds_stay_within_the_limits():
    """t is 6366 at two seeds and this level."""
    assert seed_interval([0.0, 1e-9], level=0.9999, limits=(0, 1))[1:] == pytest.approx((0.0, 1.0))
    assert all(map(math.isfinite, seed_interval([0.0, 1.0], level=0.9999, limits=(0, math.inf))))


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    ("a", "b"),
    [(2, 2), (20, 3), (50, 2), (1, 30), (300, 60)],  # means of .03 to .96, deviations of .02 to .22
)
def test_shares_are_covered_about_as_often_as_said(seeds, a, b):
    """4000 worlds each. Few seeds of skewed scores are never covered exactly; a cut at the limits falls to .886."""
    draws = np.random.default_rng(0).beta(a, b, size=(4000, seeds))
    intervals = [seed_interval(draw, limits=(0, 1)) for draw in draws]
    hits = sum(low <= a / (a + b) <= high for _, low, high in intervals)
    assert 0.93 <= hits / 4000 <= 0.965


def test_differences_of_shares_are_covered_as_often_as_said():
    draws = np.random.default_rng(0).beta(20, 3, size=(2, 4000, 3))
    intervals = [seed_interval(draw, limits=(-1, 1)) for draw in draws[0] - draws[1]]
    hits = sum(low <= 0 <= high for _, low, high in intervals)
    assert abs(hits / 4000 - 0.95) < 0.0104


@pytest.mark.parametrize(
    ("limits", "message"),
    [((0, 1), "values must lie within"), ((-3, 1), "values must lie within"), ((1, 0), "limits must be")],
)
def test_values_beyond_their_limits_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        seed_interval([0.5, 1.25], limits=limits)


# The smallest effect that could have been found


def of_spread(seeds, spread):
    """Values whose deviation, with Bessel's correction, is `spread`."""
    x = np.arange(seeds, dtype=float)
    return x / x.std(ddof=1) * spread


@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("power", [0.5, 0.8])
def test_the_least_effect_is_found_as_often_as_said(seeds, power):
    spread = 0.3
    least = least_effect(of_spread(seeds, spread), power=power)
    draws = np.random.default_rng(1).normal(least, spread, size=(4000, seeds))
    found = sum(not low <= 0 <= high for _, low, high in map(seed_interval, draws))
    assert abs(found / 4000 - power) < 3 * math.sqrt(power * (1 - power) / 4000)


def test_many_seeds_have_the_normal_s_least_effect():
    # z at .975 and at .8
    assert least_effect(of_spread(4000, 1.0)) * math.sqrt(4000) == pytest.approx(1.959964 + 0.841621, rel=1e-3)


def test_the_least_effect_grows_with_the_spread_and_falls_with_the_seeds():
    assert least_effect(of_spread(4, 2.0)) == pytest.approx(2 * least_effect(of_spread(4, 1.0)))
    found = [least_effect(of_spread(seeds, 1.0)) for seeds in (2, 3, 4, 8, 30)]
    assert found == sorted(found, reverse=True)
    assert least_effect([0.2, 0.2, 0.2]) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("power", [0.05, 0.0, 1.0, 80.0, math.nan])
def test_a_power_is_more_than_the_false_alarms(power):
    with pytest.raises(ValueError, match=r"power must be between 0.05 and 1"):
        least_effect([1.0, 2.0, 3.0], power=power)


def test_the_hierarchical_bootstrap_is_the_exact_one():
    """2 seeds and 3 problems have 4 x 27 equally likely resamples: all of them, instead of draws."""
    values = np.array([[0.0, 0.1, 0.7], [0.3, 1.0, 0.2]])
    means = sorted(
        sum(values[s][p] for s in seeds for p in problems) / 6
        for seeds in product(range(2), repeat=2)
        for problems in product(range(3), repeat=3)
    )
    for level in (0.5, 0.8, 0.95):
        ours = hierarchical_interval(values, level=level, resamples=40_000)
        share = lambda x: sum(m < x - 1e-9 for m in means) / len(means)  # noqa: E731
        assert ours.value == pytest.approx(values.mean())
        # between the steps of the exact distribution, but for the noise of 40000 draws
        assert share(ours.low) <= (1 - level) / 2 + 0.01
        assert share(ours.low + 1e-6) >= (1 - level) / 2 - 0.01
        assert share(ours.high) <= (1 + level) / 2 + 0.01
        assert share(ours.high + 1e-6) >= (1 + level) / 2 - 0.01


def test_problems_are_shared_by_all_seeds_of_a_resample():
    """A score that is the problem's alone: more seeds tell nothing more."""
    one = scores(40)
    few, many = (hierarchical_interval(np.array([one] * n), resamples=4000) for n in (2, 30))
    assert few.high - few.low == pytest.approx(many.high - many.low, rel=0.05)
    alone = bootstrap_interval(one)
    assert few.high - few.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_seeds_are_drawn_too():
    """A score that is the run's alone: the two seeds' mean is 0, .5 or 1."""
    interval = hierarchical_interval(np.array([[0.0] * 50, [1.0] * 50]))
    assert interval == (0.5, 0.0, 1.0)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0], [2.0]], np.ones((0, 3)), [[1.0, math.nan]]])
def test_what_has_no_seeds_and_problems_is_refused(values):
    with pytest.raises(ValueError, match=r"values must be finite, \(seeds, problems\)"):
        hierarchical_interval(np.array(values))


def test_an_interval_is_value_low_high():
    assert Interval._fields == ("value", "low", "high")
