"""Each strategy against its paper's formula, written out as scalars."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entrostat import TokenStats
from entrostat.strategies import RolloutSummary, make_strategy

PROBABILITIES = [1e-9, 0.01, 0.2, 0.5, 0.9, 1.0]
OLD = TokenStats(torch.tensor([PROBABILITIES]).log())
EPS = 0.2


def hu(p):
    return 1.5 / (1 + 0.25 * p) - 1


def mlo(p):
    return 1 - 0.7 / (1 - 0.13 * p)


def id_rule(k, total, p):
    lam = 1 - 2 * k / total
    if k <= total / 2:
        return EPS, lam * hu(p) + (1 - lam) * EPS
    return (1 + lam) * mlo(p) - lam * EPS, EPS


def did_rule(k, total, p):
    lam = 1 - 2 * k / total
    if k <= total / 2:
        return EPS, lam * EPS + (1 - lam) * hu(p)
    return (1 + lam) * mlo(p) - lam * EPS, hu(p)


def check(bounds, expected):
    low, high = zip(*expected, strict=True)
    torch.testing.assert_close(bounds.low, torch.tensor([low]), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(bounds.high, torch.tensor([high]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "rule"), [("id", id_rule), ("did", did_rule)])
@given(k=st.integers(0, 99))
def test_phased_strategies_are_the_papers_lines(name, rule, k):
    strategy = make_strategy(name)
    state = strategy.observe(strategy.init(), RolloutSummary(k / 100))
    check(strategy.bounds(state, OLD), [rule(k, 100, p) for p in PROBABILITIES])


@pytest.mark.parametrize("share", [0.3, 0.4, 0.6])
@pytest.mark.parametrize("name", ["id", "did"])
def test_another_first_phase_stretches_each_phase(name, share):
    """At u of the way through a phase the bounds are those of the even split at u of the way through that phase."""
    even, other = make_strategy(name), make_strategy(name, first_phase=share)
    for u in (0.0, 0.25, 0.9, 1.0):
        for a, b in ((u * 0.5, u * share), (0.5 + max(u, 1e-6) * 0.5, share + max(u, 1e-6) * (1 - share))):
            first = even.bounds(even.observe(even.init(), RolloutSummary(a)), OLD)
            second = other.bounds(other.observe(other.init(), RolloutSummary(b)), OLD)
            torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@given(p=st.floats(1e-6, 1.0), r=st.floats(0.3, 3.0))
def test_the_closed_forms_are_the_papers_bounds_on_the_current_probability(p, r):
    """r <= 1 + alpha r p + beta, and r >= 1 - (alpha r p + beta), solved for r."""
    strategy = make_strategy("did")
    old = TokenStats(torch.tensor([[math.log(p)]]))
    high, low = float(strategy.upper(old)), float(strategy.lower(old))
    if abs(r - (1 + high)) > 1e-5:
        assert (r <= 1 + high) == (r <= 1 - 0.25 * r * p + 0.5)
    if abs(r - (1 - low)) > 1e-5:
        assert (r >= 1 - low) == (r >= 1 - (-0.13 * r * p + 0.3))


def test_the_dynamic_caps_run_where_the_paper_says():
    strategy = make_strategy("id")
    ends = TokenStats(torch.tensor([[-60.0, 0.0]]))
    torch.testing.assert_close(1 + strategy.upper(ends), torch.tensor([[1.5, 1.2]]))
    torch.testing.assert_close(1 - strategy.lower(ends), torch.tensor([[0.7, 0.7 / 0.87]]))


def test_od_raises_at_the_floor_and_lowers_over_the_falling_ceiling():
    strategy = make_strategy("od")
    total, initial = 10, 1.0
    entropy = [1.0, 0.5, 0.2, 0.5, 0.6, 0.5, 0.55, 0.3, 0.19, 0.25]
    state = strategy.init()
    raising, expected = 0, []
    for k, h in enumerate(entropy):
        state = strategy.observe(state, RolloutSummary(k / total, h))
        ceiling = 0.2 + 0.8 * (1 - k / total)
        raising = 1 if h <= 0.2 else 0 if h > ceiling else raising
        expected.append(raising)
        assert state.raising == raising
        assert state.initial_entropy == initial
        rule = [(EPS, hu(p)) for p in PROBABILITIES] if raising else [(mlo(p), EPS) for p in PROBABILITIES]
        check(strategy.bounds(state, OLD), rule)
    assert expected == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("unmeasured", [math.nan, math.inf])
def test_od_goes_on_over_rollouts_that_measured_nothing(unmeasured):
    """The entropies that it did measure, at the same progress, decide alone; the first of them is H_init."""
    strategy = make_strategy("od")
    entropy = [unmeasured, 1.0, unmeasured, 0.2, unmeasured, 0.5, 0.95]
    state, bare = strategy.init(), strategy.init()
    for k, h in enumerate(entropy):
        summary = RolloutSummary(k / len(entropy), h)
        state = strategy.observe(state, summary)
        bare = strategy.observe(bare, summary) if math.isfinite(h) else bare
        assert state == bare._replace(rollouts=k + 1)
    assert bare == (0, 4, 1.0)


def test_od_without_entropy_says_how_to_get_it():
    strategy = make_strategy("od")
    with pytest.raises(ValueError, match=r"needs the rollout's mean entropy.*TRL.*verl"):
        strategy.observe(strategy.init(), RolloutSummary(0.0, None))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("grpo", 0.2, 0.2), ("clip-higher", 0.2, 0.28), ("clip-lower", 0.15, math.inf)]
)
def test_static_strategies_have_their_papers_thresholds(name, low, high):
    strategy = make_strategy(name)
    check(strategy.bounds(strategy.init(), OLD), [(low, high)] * len(PROBABILITIES))


def dcpo_release(p, low, high):
    """get_clip_low_high of github.com/lime-RL/DCPO, as scalars: floor and cap of the ratio."""
    inside = 1 - 4 * low / p
    return 0.5 * (1 + math.sqrt(inside if inside >= 0 else 0.0)), min(0.5 * (1 + math.sqrt(1 + 4 * high / p)), 10.0)


@pytest.mark.parametrize(("low", "high"), [(0.16, 0.2), (0.05, 0.4), (0.0, 0.0)])
def test_dcpo_is_its_released_formula(low, high):
    strategy = make_strategy("dcpo", low=low, high=high)
    released = [dcpo_release(p, low, high) for p in PROBABILITIES]
    check(strategy.bounds(strategy.init(), OLD), [(1 - floor, cap - 1) for floor, cap in released])


@given(p=st.floats(0.01, 1.0), move=st.floats(0.5, 3.0))
def test_dcpo_bounds_how_far_the_probability_moves(p, move):
    """Inside the window r (r - 1) p_old is within -low and high (arXiv 2509.02333), for r over a half."""
    strategy = make_strategy("dcpo", cap=1e6)
    low, high = (side.item() for side in strategy.bounds(strategy.init(), TokenStats(torch.tensor([[p]]).log())))
    moved = move * (move - 1) * p
    if min(abs(move - (1 - low)), abs(move - (1 + high))) > 1e-4:
        assert (1 - low <= move <= 1 + high) == (-0.16 <= moved <= 0.2)


@pytest.mark.parametrize(("upper", "lower"), [(True, True), (True, False), (False, True)])
def test_dynamic_is_the_papers_thresholds_through_the_whole_run(upper, lower):
    strategy = make_strategy("dynamic", upper_dynamic=upper, lower_dynamic=lower)
    for progress in (0.0, 0.7):
        state = strategy.observe(strategy.init(), RolloutSummary(progress))
        expected = [(mlo(p) if lower else EPS, hu(p) if upper else EPS) for p in PROBABILITIES]
        check(strategy.bounds(state, OLD), expected)
    with pytest.raises(ValueError, match="for none of them use grpo"):
        make_strategy("dynamic", upper_dynamic=False, lower_dynamic=False)


def test_a_switch_of_dynamic_that_is_a_text_is_refused(as_users_see):
    with pytest.raises(ValueError, match="upper_dynamic must be true or false, got 'no'"):
        as_users_see("strategies/dynamic").WholeRun(upper_dynamic="no")
