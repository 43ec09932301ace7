import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat.advantage import group_advantages

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
