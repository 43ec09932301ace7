"""Four thresholds by region: each bounds its own tokens' gradient and nobody else's."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat import TokenStats, clip_events, clip_loss
from entrostat.strategies import NoState, make_strategy

EPS = {"e1": 0.1, "e2": 0.3, "e3": 0.15, "e4": 0.4}
halves = st.floats(-0.9, 2.0)


def old(logprobs, entropy):
    return TokenStats(torch.tensor([logprobs]), torch.tensor([entropy]))


@given(
    tokens=st.lists(
        st.tuples(st.floats(-6, -0.01), st.floats(0.01, 3), st.floats(-2, 2), st.floats(-2, 2)), min_size=1
    ),
    eps=st.tuples(halves, halves, halves, halves),
)
def test_a_token_is_clipped_by_its_own_regions_threshold(tokens, eps):
    logprobs, entropy, logratio, advantages = (list(column) for column in zip(*tokens, strict=True))
    thresholds = dict(zip(("e1", "e2", "e3", "e4"), eps, strict=True))
    bounds = make_strategy("regions", **thresholds).bounds(NoState(), old(logprobs, entropy))
    events = clip_events(
        torch.tensor([logratio], dtype=torch.float32), torch.tensor([advantages]), low=bounds.low, high=bounds.high
    )
    for i, (logp, h, lr, a) in enumerate(tokens):
        region = reference.region(logp, h, a)
        if region == 0 or abs(logp + h) < 1e-5 or abs(a) < 1e-3:
            continue
        width = thresholds[f"e{region}"]
        edge = 1 + width if a > 0 else 1 - width
        if math.isclose(math.exp(lr), edge, rel_tol=1e-5):
            continue
        event = math.exp(lr) > edge if a > 0 else math.exp(lr) < edge
        assert (events.high if a > 0 else events.low)[0, i].item() == event


@pytest.mark.parametrize("shut", ["e1", "e2", "e3", "e4"])
def test_minus_one_takes_the_whole_gradient_of_a_region_and_no_other(shut):
    torch.manual_seed(0)
    n = 400
    logp, h = -3 * torch.rand(1, n), 0.2 + torch.rand(1, n)
    logratio = (2 * torch.randn(1, n)).requires_grad_()
    advantages = torch.randn(1, n)
    strategy = make_strategy("regions", **{name: math.inf for name in EPS} | {shut: -1.0})
    bounds = strategy.bounds(NoState(), TokenStats(logp, h))
    loss = clip_loss(logratio, advantages, low=bounds.low, high=bounds.high)
    assert loss.isfinite().all()
    (gradient,) = torch.autograd.grad(loss.sum(), logratio)
    region = torch.tensor([[reference.region(*x) for x in zip(logp[0].tolist(), h[0].tolist(), advantages[0].tolist(),
                                                              strict=True)]])  # fmt: skip
    assert torch.equal(gradient == 0, region == int(shut[1]))
    assert strategy.acts_on_fresh
    assert not make_strategy("regions").acts_on_fresh


def test_equal_thresholds_are_grpos():
    p, h = [-0.1, -3.0, -1.0], [0.5, 0.5, 2.0]
    mine, plain = (make_strategy(name).bounds(make_strategy(name).init(), old(p, h)) for name in ("regions", "grpo"))
    assert torch.equal(mine.low, plain.low)
    assert torch.equal(mine.high, plain.high)


def test_bad_values():
    with pytest.raises(ValueError, match="e3 must be at least -1"):
        make_strategy("regions", e3=-1.5)
    with pytest.raises(ValueError, match="entropy"):
        make_strategy("regions").bounds(NoState(), TokenStats(torch.zeros(1, 1)))
