"""Masks against scalar forms and exact enumeration: no sampling anywhere."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entrostat import ClipBounds, clip_events, clip_loss
from entrostat.mask import keep_mask, over_probability, over_ratio

STATISTICS = ("ratio", "probability")


def kept(p, p_old, advantage, low, high, statistic):
    moved = p / p_old - 1 if statistic == "ratio" else p - p_old
    fallen, risen = moved < -low, moved > high
    if advantage is None:
        return not (fallen or risen)
    return not (fallen if advantage < 0 else risen and advantage > 0)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("advantage", [1.5, -0.5, 0.0, None])
def test_a_token_is_kept_by_the_scalar_rule(statistic, advantage):
    old, now = zip(*itertools.product([1e-6, 0.011, 0.3, 0.72, 0.99], repeat=2), strict=True)
    p_old, p = torch.tensor([old]).double(), torch.tensor([now]).double()
    given_advantages = None if advantage is None else torch.full((1, 1), advantage)
    for low, high in ((0.1, 0.2), (0.3, 0.05), (1.0, math.inf), (0.0, 0.0), (-0.1, 0.2)):
        found = keep_mask((p / p_old).log(), p_old.log(), given_advantages, low=low, high=high, statistic=statistic)
        wanted = [kept(b, a, advantage, low, high, statistic) for a, b in zip(old, now, strict=True)]
        assert found.tolist() == [wanted], (low, high)


def test_nan_and_what_does_not_fit(as_users_see):
    some, nan = torch.zeros(1, 2), torch.tensor([[math.nan, 3.0]])
    assert keep_mask(nan, some, torch.ones(1, 1), low=0.1, high=0.1).tolist() == [[True, False]]
    unchecked = as_users_see("mask").keep_mask
    with pytest.raises(ValueError, match=r"advantages must be \(b t\)"):
        unchecked(torch.zeros(2, 2), torch.zeros(2, 2), torch.ones(2), low=0.1, high=0.1)
    with pytest.raises(ValueError, match="one of ratio, probability, got 'p'"):
        unchecked(some, some, None, low=0.1, high=0.1, statistic="p")


tables = st.lists(st.tuples(st.floats(1e-4, 1.0), st.floats(1e-4, 1.0)), min_size=1, max_size=6)


@given(table=tables, low=st.floats(0.0, 0.9), high=st.floats(0.0, 0.9), sign=st.sampled_from([-1.0, 1.0]))
def test_a_mask_on_p_is_a_clip_of_the_ratio_and_has_its_gradient(table, low, high, sign):
    p_old, p = torch.tensor(table).double().T[:, None]
    distance = torch.stack([(p - p_old + low).abs(), (p - p_old - high).abs()])
    if float(distance.min()) < 1e-6:
        return
    advantages = torch.full_like(p, sign)
    keep = keep_mask((p / p_old).log(), p_old.log(), advantages, low=low, high=high, statistic="probability")
    size = ClipBounds(torch.full_like(p, low), torch.full_like(p, high))
    window = over_ratio(size, p_old.log())
    logratio = (p / p_old).log().requires_grad_()
    events = clip_events(logratio, advantages, low=window.low, high=window.high)
    assert torch.equal(keep, ~(events.low | events.high))
    (clip,) = torch.autograd.grad(clip_loss(logratio, advantages, low=window.low, high=window.high).sum(), logratio)
    (mask,) = torch.autograd.grad((-logratio.exp() * advantages * keep).sum(), logratio)
    torch.testing.assert_close(clip, mask)
    back = over_probability(window, p_old.log())
    torch.testing.assert_close(back.low, size.low, rtol=1e-5, atol=1e-6)
    reachable = p_old.float() + high < 1
    torch.testing.assert_close(back.high[reachable], size.high[reachable], rtol=1e-5, atol=1e-6)
    assert back.high[~reachable].isinf().all()


def test_impossible_tokens_have_no_nan():
    impossible = torch.tensor([[-math.inf, 0.0]])
    for half in (0.0, 0.2, 1.0, math.inf):
        bounds = ClipBounds(torch.full((1, 2), half), torch.full((1, 2), half))
        for made in (over_ratio(bounds, impossible), over_probability(bounds, impossible)):
            assert not (made.low.isnan() | made.high.isnan()).any()


# which side raises entropy: docs/masks.md


def entropy(logits):
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum()


def dropped(logits, old, size, statistic, side):
    """Tokens of a state that a side takes, whatever A: a bool per token."""
    low, high = (size, math.inf) if side == "low" else (1e9, size)
    logratio = (logits.log_softmax(-1) - old.log())[None]
    return ~keep_mask(logratio, old.log()[None], None, low=low, high=high, statistic=statistic)[0]


def formula(logits, old, size, statistic):
    """Theorem 1 of 2509.26114 per unit step, nu = 1/2, mu = d = 1: the low side's change of H and the high side's."""
    logp = logits.log_softmax(-1)
    p = logp.exp()
    q = p * (logp + entropy(logits))
    bracket = q - (p * q).sum()
    low, high = (dropped(logits, old, size, statistic, side) for side in ("low", "high"))
    return -0.5 * float((p * bracket)[low].sum()), 0.5 * float((p * bracket)[high].sum())


def stepped(logits, old, size, statistic, *, two_sided=False):
    """Change of H by a small step on the exact expected objective: over a from the old policy, and A = +-1."""
    z = logits.clone().requires_grad_()
    logratio = (z.log_softmax(-1) - old.log())[None]
    objective = torch.zeros(())
    for advantage in (1.0, -1.0):
        given_advantages = torch.full_like(logratio, advantage)
        keep = keep_mask(
            logratio,
            old.log()[None],
            None if two_sided else given_advantages,
            low=size,
            high=size,
            statistic=statistic,
        )
        objective = objective + 0.5 * (old * logratio.exp() * given_advantages * keep).sum()
    (step,) = torch.autograd.grad(objective, z)
    eta = 1e-5
    return float(entropy(logits + eta * step) - entropy(logits - eta * step)) / (2 * eta)


STATES = [
    ([0.6, 0.1, 0.1, 0.1, 0.1], [0.4, -0.3, 0.2, 0.0, -0.1], 0.02),
    ([0.5, 0.25, 0.15, 0.1], [-0.3, 0.2, 0.4, -0.5], 0.05),
    ([0.9, 0.1], [0.5, 0.0], 0.01),
]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(("old", "move", "size"), STATES)
def test_theorem_1_holds_for_either_statistic(statistic, old, move, size):
    old = torch.tensor(old, dtype=torch.float64)
    logits = old.log() + torch.tensor(move, dtype=torch.float64)
    low, high = formula(logits, old, size, statistic)
    assert low != 0 and high != 0
    assert stepped(logits, old, size, statistic) == pytest.approx(low + high, rel=1e-6, abs=1e-12)
    # a two-sided mask takes as much from A > 0 as from A < 0
    assert stepped(logits, old, size, statistic, two_sided=True) == pytest.approx(0.0, abs=1e-12)


def over_all_moves(old, size, statistic, scale=0.05):
    """The two sides' changes over all moves of the logits by -scale, 0 or scale."""
    old = torch.tensor(old, dtype=torch.float64)
    both = [
        formula(old.log() + scale * torch.tensor(move, dtype=torch.float64), old, size, statistic)
        for move in itertools.product((-1.0, 0.0, 1.0), repeat=len(old))
    ]
    return tuple(map(sum, zip(*both, strict=True)))


def test_with_two_tokens_the_sides_of_a_mask_on_p_do_the_same():
    for old, move, size in (([0.9, 0.1], [0.5, 0.0], 0.01), ([0.3, 0.7], [0.2, -0.4], 0.05)):
        old = torch.tensor(old, dtype=torch.float64)
        logits = old.log() + torch.tensor(move, dtype=torch.float64)
        low, high = formula(logits, old, size, "probability")
        assert low == pytest.approx(high, rel=1e-9) and low != 0
    low, high = over_all_moves([0.9, 0.1], 0.03, "ratio")
    assert low > 0 > high


def test_with_one_likely_token_among_several_the_rule_turns_round():
    low, high = over_all_moves([0.6, 0.1, 0.1, 0.1, 0.1], 0.035, "ratio")
    assert low > 0 > high
    low, high = over_all_moves([0.6, 0.1, 0.1, 0.1, 0.1], 0.0046, "probability")
    assert low < 0 < high
