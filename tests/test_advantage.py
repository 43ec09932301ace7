import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat.advantage import gae, group_advantages, whiten

reward = st.sampled_from([0.0, 1.0, 0.1]) | st.floats(-10, 10, width=32)
groups = st.integers(2, 6).flatmap(
    lambda g: st.lists(st.lists(reward, min_size=g, max_size=g), min_size=1, max_size=5).map(lambda rows: (g, rows))
)


@pytest.mark.parametrize("scale", ["group", "none"])
@given(groups)
def test_advantages_are_the_reference_s(scale, drawn):
    g, rows = drawn
    rewards = torch.tensor(rows, dtype=torch.float64).view(-1)
    ours = group_advantages(rewards, g, scale=scale)
    expected = reference.group_advantages(rewards.tolist(), g, scale)
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", ["group", "none"])
def test_advantages_are_those_of_trl(scale):
    """The lines of trl.GRPOTrainer that compute them, with its own nanstd."""
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    rewards = torch.rand(24, generator=torch.Generator().manual_seed(0))
    mean = torch.nanmean(rewards.view(-1, 8), dim=1).repeat_interleave(8)
    std = nanstd(rewards.view(-1, 8), dim=1).repeat_interleave(8)
    expected = (rewards - mean) / (std + 1e-4) if scale == "group" else rewards - mean
    torch.testing.assert_close(group_advantages(rewards, 8, scale=scale), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", ["group", "none"])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e4, -7.7])
def test_a_group_of_equal_rewards_gets_exactly_zero(scale, value):
    rewards = torch.tensor([value] * 7 + [0.0] * 6 + [1.0])
    ours = group_advantages(rewards, 7, scale=scale)
    assert ours[:7].tolist() == [0.0] * 7
    assert (ours[7:] != 0).all()


def test_a_group_of_one_gets_exactly_zero():
    assert group_advantages(torch.tensor([3.0, 4.0]), 1).tolist() == [0.0, 0.0]


@given(groups, st.integers(-4, 4))
def test_adding_a_constant_to_a_group_changes_nothing(drawn, shift):
    g, rows = drawn
    rewards = torch.tensor(rows, dtype=torch.float64).view(-1)
    torch.testing.assert_close(group_advantages(rewards + shift, g), group_advantages(rewards, g), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_stops_the_run(bad):
    with pytest.raises(ValueError, match=f"rewards must be finite, got {bad} at 2"):
        group_advantages(torch.tensor([0.0, 1.0, bad, 1.0]), 2)


@pytest.mark.parametrize("group_size", [0, -2, 3])
def test_groups_must_fit(group_size):
    with pytest.raises(ValueError, match=f"group_size must divide the 4 rewards, got {group_size}"):
        group_advantages(torch.zeros(4), group_size)


def test_an_unknown_scale_is_refused(as_users_see):
    with pytest.raises(ValueError, match="scale must be 'group' or 'none', got 'batch'"):
        as_users_see("advantage").group_advantages(torch.zeros(4), 2, scale="batch")


# GAE: rows of (trained, value) with a reward each.

number = st.floats(-3, 3, width=32)
row = st.tuples(number, st.lists(st.tuples(st.booleans(), number), min_size=1, max_size=6))
rollouts = st.lists(row, min_size=1, max_size=4)
unit = st.floats(0, 1)


def padded(rows, junk=0.0):
    """(rewards, values, mask), float64; what is not trained on holds `junk`."""
    width = max(len(tokens) for _, tokens in rows)
    filled = [[*tokens, *[(False, 0.0)] * (width - len(tokens))] for _, tokens in rows]
    mask = torch.tensor([[trained for trained, _ in line] for line in filled])
    values = torch.tensor([[v if trained else junk for trained, v in line] for line in filled], dtype=torch.float64)
    return torch.tensor([reward for reward, _ in rows], dtype=torch.float64), values, mask


def by_row(rows):
    return [(reward, [v for trained, v in tokens if trained]) for reward, tokens in rows]


def assert_rows(found, mask, expected):
    assert (found[~mask] == 0).all()
    for line, keep, wanted in zip(found, mask, expected, strict=True):
        wanted = torch.tensor(wanted, dtype=torch.float64)
        torch.testing.assert_close(line[keep], wanted, rtol=1e-9, atol=1e-9)


@given(rollouts, unit, unit, st.sampled_from([0.0, math.nan, math.inf]))
def test_gae_is_the_reference_s_and_what_is_masked_never_matters(rows, gamma, lam, junk):
    rewards, values, mask = padded(rows, junk)
    found = gae(rewards, values, mask, gamma=gamma, lam=lam)
    expected = [reference.gae(reward, kept, gamma, lam) if kept else ([], []) for reward, kept in by_row(rows)]
    assert_rows(found.advantages, mask, [advantages for advantages, _ in expected])
    assert_rows(found.returns, mask, [returns for _, returns in expected])


@given(rollouts)
def test_at_lambda_and_gamma_1_gae_is_the_reward_less_the_value(rows):
    rewards, values, mask = padded(rows)
    expected = [[reward - v for v in kept] for reward, kept in by_row(rows)]
    assert_rows(gae(rewards, values, mask).advantages, mask, expected)


@given(rollouts, unit)
def test_at_lambda_0_gae_is_the_td_error(rows, gamma):
    rewards, values, mask = padded(rows)
    expected = []
    for reward, kept in by_row(rows):
        errors = [gamma * after - v for v, after in itertools.pairwise(kept)]
        expected.append([*errors, reward - kept[-1]] if kept else [])
    assert_rows(gae(rewards, values, mask, gamma=gamma, lam=0.0).advantages, mask, expected)


def test_a_completion_that_nothing_is_trained_on_may_have_any_reward():
    mask = torch.tensor([[True, True], [False, False]])
    found = gae(torch.tensor([1.0, math.nan]), torch.zeros(2, 2), mask)
    assert found.advantages.tolist() == found.returns.tolist() == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("name", ["gamma", "lam"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_gae_refuses_what_is_no_share(name, value):
    with pytest.raises(ValueError, match=f"{name} must be in \\[0, 1\\], got {value}"):
        gae(torch.zeros(1), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), **{name: value})


@pytest.mark.parametrize("scale", [True, False])
@given(rollouts, st.sampled_from([0.0, math.nan]))
def test_whitening_is_the_reference_s_over_all_tokens_alike(scale, rows, junk):
    _, values, mask = padded(rows, junk)
    found = whiten(values, mask, scale=scale)
    assert (found[~mask] == 0).all()
    flat = [v for _, kept in by_row(rows) for v in kept]
    expected = torch.tensor(reference.whiten(flat, scale) if flat else [], dtype=torch.float64)
    torch.testing.assert_close(found[mask], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e4, -7.7])
def test_advantages_that_are_all_equal_are_whitened_to_nothing(value):
    found = whiten(torch.full((7, 9), value), torch.ones(7, 9, dtype=torch.bool))
    assert found.abs().max() < 1e-7
