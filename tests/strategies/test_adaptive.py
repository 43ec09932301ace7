"""Adaptive upper thresholds: MAI-Thinking-1's rule against a scalar form, and ADAPO's as it was taken."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat import TokenStats
from entrostat.strategies import RolloutSummary, make_strategy

OLD = TokenStats(torch.tensor([[-0.1, -2.0]]))
entropies = st.lists(st.floats(0.0, 3.0) | st.just(math.nan), min_size=1, max_size=30)


def bounds_after(strategy, history):
    """(low, high) of each rollout."""
    state, found = strategy.init(), []
    for i, entropy in enumerate(history):
        state = strategy.observe(state, RolloutSummary(i / len(history), entropy))
        low, high = strategy.bounds(state, OLD)
        assert low.shape == high.shape == (1, 2)
        found.append((low[0, 0].item(), high[0, 1].item()))
    return found


@given(history=entropies)
def test_mai_moves_the_upper_end_by_a_constant_step(history):
    found = bounds_after(make_strategy("mai", target=0.5), history)
    highs = reference.mai_highs(history, target=0.5, eps=0.6, delta=0.25, k_max=2.5)
    assert [low for low, _ in found] == pytest.approx([0.6] * len(history))
    assert [1 + high for _, high in found] == pytest.approx(highs)


def test_mai_starts_at_the_reciprocal_of_its_lower_end():
    ((low, high),) = bounds_after(make_strategy("mai", target=0.5, delta=0.0), [0.1])
    assert (1 - low) * (1 + high) == pytest.approx(1.0)


@given(history=entropies)
def test_adapo_widens_under_the_target_and_stays_in_its_range(history):
    strategy = make_strategy("adapo", target=0.5)
    before = strategy.first_high
    for entropy, (low, high) in zip(history, bounds_after(strategy, history), strict=True):
        assert low == pytest.approx(0.2)
        if math.isnan(entropy):
            assert high == pytest.approx(before)
        elif entropy < 0.5:
            assert high == pytest.approx(min(before * 1.1, 1.0))
        else:
            assert high == pytest.approx(max(before / 1.1, 0.2))
        before = high


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mai", {"target": -0.1}, "target must be over 0 nats throughout, got -0.1"),
        ("mai", {"eps": 1.0}, r"eps must be in \[1e-4, 0.99\], got 1.0"),
        ("adapo", {"high": 0.1}, "high must be at least low, 0.2, got 0.1"),
        ("adapo", {"most": 0.25}, "most must be at least high, 0.28, got 0.25"),
    ],
)
def test_a_bad_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy(name, **options)
