import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from entrostat import ClipBounds, aggregate, clip_events, clip_loss

JUNK = [math.nan, math.inf, -math.inf, 1e30, -1e30]
HOWS = [("token-mean", None), ("token-mean", 7.0), ("sequence-mean", None), ("constant-length", 5)]

size = st.floats(2**-10, 50.0, width=32)
advantage = st.sampled_from([0.0, 1.0, -1.0]) | size | size.map(lambda a: -a)
half_width = st.one_of(st.sampled_from([0.2, 0.0, 1.0, math.inf]), st.floats(-3.0, 5.0, width=32))
token = st.tuples(st.floats(-120.0, 80.0, width=32) | st.floats(-1.0, 1.0, width=32), advantage, half_width, half_width)


def apart_from_its_bounds(logratio, _advantage, low, high):
    """Whether float32 can tell the ratio from the bounds: there the gradient jumps."""
    ratio = math.exp(logratio)
    return all(math.isinf(bound) or abs(ratio - bound) > 1e-5 * max(ratio, 1.0) for bound in (1 - low, 1 + high))


def columns(tokens):
    logratio, advantages, low, high = (torch.tensor([list(column)]) for column in zip(*tokens, strict=True))
    return logratio.requires_grad_(), advantages, low, high


def close(ours, expected):
    torch.testing.assert_close(ours, torch.tensor([expected]), rtol=2e-6, atol=1e-37)


@given(st.lists(token, min_size=1, max_size=20))
def test_loss_gradient_and_events_are_the_reference_s(tokens):
    tokens = [(x, a, float(torch.tensor(low)), float(torch.tensor(high))) for x, a, low, high in tokens]
    tokens = [t for t in tokens if apart_from_its_bounds(*t)]
    assume(tokens)
    logratio, advantages, low, high = columns(tokens)
    loss = clip_loss(logratio, advantages, low=low, high=high)
    (gradient,) = torch.autograd.grad(loss.sum(), logratio)
    events = clip_events(logratio, advantages, low=low, high=high)
    close(loss.detach(), [reference.clip_loss(*t) for t in tokens])
    close(gradient, [reference.clip_gradient(*t) for t in tokens])
    expected = [reference.clip_event(*t) for t in tokens]
    assert events.low[0].tolist() == [e == "low" for e in expected]
    assert events.high[0].tolist() == [e == "high" for e in expected]


@given(token)
def test_one_sided_form_is_the_textbook_s_where_the_bounds_do_not_cross(t):
    *_, low, high = t
    assume(-low < high)
    assert reference.clip_loss(*t) == pytest.approx(reference.clip_loss_textbook(*t), rel=1e-12)


@given(st.lists(token, min_size=1, max_size=20))
def test_the_gradient_is_zero_exactly_where_an_event_is(tokens):
    """Also on the bounds' own rounding, where the reference cannot say."""
    logratio, advantages, low, high = columns([t for t in tokens if t[1] and t[0] > -80] or [(0.5, 1.0, 0.2, 0.2)])
    loss = clip_loss(logratio, advantages, low=low, high=high)
    (gradient,) = torch.autograd.grad(loss.sum(), logratio)
    events = clip_events(logratio, advantages, low=low, high=high)
    assert torch.equal(gradient == 0, events.low | events.high)
    assert not (events.low & events.high).any()


@given(st.floats(0.01, 0.99), st.lists(st.floats(0.01, 1.99), min_size=1), st.floats(0.1, 3.0))
def test_equal_half_widths_treat_the_two_sides_alike(width, ratios, size):
    """Reflecting the ratio at 1 and the advantage at 0 swaps the sides and moves the loss by a constant, 2 |A|."""
    ratios = [r for r in ratios if abs(abs(r - 1) - width) > 1e-9]
    assume(ratios)
    r, up = torch.tensor([ratios], dtype=torch.float64), torch.tensor([[size]], dtype=torch.float64)
    knobs = {"low": width, "high": width}
    assert torch.equal(clip_events(r.log(), up, **knobs).high, clip_events((2 - r).log(), -up, **knobs).low), (
        "a token clipped high is its mirror image clipped low"
    )
    assert not clip_events(r.log(), up, **knobs).low.any()
    torch.testing.assert_close(clip_loss((2 - r).log(), -up, **knobs), clip_loss(r.log(), up, **knobs) + 2 * up)


def test_gradient_agrees_with_finite_differences_on_both_sides_of_each_bound():
    logratio = (
        torch.tensor([[-1.0, -0.3, -0.1, 0.1, 0.15, 0.3, 1.0]], dtype=torch.float64).repeat(2, 1).requires_grad_()
    )
    advantages = torch.tensor([[1.5], [-0.7]], dtype=torch.float64)
    low, high = torch.tensor([[0.2]], dtype=torch.float64), torch.tensor(0.25, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: clip_loss(x, advantages, low=low, high=high), logratio)
    assert torch.autograd.gradgradcheck(lambda x: clip_loss(x, advantages, low=low, high=high), logratio)


def test_float_scalar_and_tensor_bounds_are_one_thing():
    generator = torch.Generator().manual_seed(0)
    logratio, advantages = torch.randn(2, 3, 5, generator=generator)
    forms = [0.25, torch.tensor(0.25), torch.full((3, 1), 0.25), torch.full((1, 5), 0.25), torch.full((3, 5), 0.25)]
    losses = [clip_loss(logratio, advantages, low=form, high=form) for form in forms]
    assert all(torch.equal(loss, losses[0]) for loss in losses)


def test_a_negative_half_width_drops_a_fresh_token_and_keeps_one_that_has_moved():
    fresh_and_moved = torch.tensor([[0.0, math.log(0.85)], [0.0, math.log(1.15)]])
    events = clip_events(fresh_and_moved, torch.tensor([[1.0], [-1.0]]), low=-0.1, high=-0.1)
    assert events.high.tolist() == [[True, False], [False, False]]
    assert events.low.tolist() == [[False, False], [True, False]]


def test_low_one_and_high_inf_switch_the_sides_off():
    logratio = torch.linspace(-50, 50, 101).expand(2, -1)
    events = clip_events(logratio, torch.tensor([[1.0], [-1.0]]), low=1.0, high=math.inf)
    assert not events.low.any()
    assert not events.high.any()


def test_a_ratio_on_its_bound_is_no_event():
    logratio = torch.zeros(1, 2, requires_grad=True)
    advantages = torch.tensor([[2.0, -2.0]])
    assert not any(side.any() for side in clip_events(logratio, advantages, low=0.0, high=0.0))
    clip_loss(logratio, advantages, low=0.0, high=0.0).sum().backward()
    assert logratio.grad.tolist() == [[-2.0, 2.0]]


def test_a_ratio_that_overflows_is_clipped_like_any_other():
    logratio = torch.tensor([[1e4, 1e4]], requires_grad=True)
    loss = clip_loss(logratio, torch.tensor([[1.0, 0.0]]), low=0.2, high=0.2)
    loss.sum().backward()
    assert loss.tolist() == [[pytest.approx(-1.2), 0.0]]
    assert logratio.grad.tolist() == [[0.0, 0.0]]


def test_no_gradient_through_bounds_and_advantages():
    inputs = [torch.tensor([[0.1, 1.0, -1.0]], requires_grad=True) for _ in range(4)]
    logratio, advantages, low, high = inputs
    clip_loss(logratio, advantages, low=low, high=high).sum().backward()
    assert logratio.grad is not None
    assert [x.grad for x in (advantages, low, high)] == [None] * 3


def test_bounds_are_a_pair_of_low_and_high():
    assert ClipBounds._fields == ("low", "high")


@pytest.mark.parametrize(
    ("name", "shape"), [("advantages", (3,)), ("low", (3,)), ("high", (3,)), ("advantages", (2, 3))]
)
def test_a_shape_that_would_broadcast_by_accident_is_refused(as_users_see, name, shape):
    clip = as_users_see("clip")
    inputs = {"advantages": torch.ones(3, 1), "low": 0.2, "high": 0.2, name: torch.ones(shape)}
    for function in (clip.clip_loss, clip.clip_events):
        with pytest.raises(ValueError, match=rf"{name} must be \(b t\) = \(3, 3\)"):
            function(torch.zeros(3, 3), **inputs)


@pytest.mark.parametrize("name", ["low", "high"])
def test_a_bound_that_is_not_a_number_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a number"):
        clip_loss(torch.zeros(1, 1), torch.ones(1, 1), **{"low": 0.2, "high": 0.2, name: math.nan})


table = st.integers(1, 5).flatmap(
    lambda t: st.lists(
        st.lists(st.tuples(st.floats(-9, 9, width=32), st.booleans()), min_size=t, max_size=t), min_size=1, max_size=5
    )
)


@pytest.mark.parametrize(("how", "normalizer"), HOWS)
@given(rows=table)
def test_aggregate_is_the_reference_s(how, normalizer, rows):
    values, mask = ([[cell[i] for cell in row] for row in rows] for i in (0, 1))
    ours = aggregate(torch.tensor(values), torch.tensor(mask), how=how, normalizer=normalizer)
    assert ours.item() == pytest.approx(reference.aggregate(values, mask, how, normalizer), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("how", "normalizer"), HOWS)
@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("where", ["logratio", "advantages", "low", "high"])
def test_a_masked_token_never_matters_whatever_it_holds(how, normalizer, junk, where):
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(4, 6, generator=generator) < 0.6
    clean = {name: torch.randn(4, 6, generator=generator) for name in ("logratio", "advantages")}
    clean |= {name: torch.full((4, 6), 0.2) for name in ("low", "high")}
    dirty = clean | {where: clean[where].masked_fill(~mask, junk)}
    results = []
    for inputs in (clean, dirty):
        logratio = inputs["logratio"].clone().requires_grad_()
        per_token = clip_loss(logratio, inputs["advantages"], low=inputs["low"], high=inputs["high"])
        loss = aggregate(per_token, mask, how=how, normalizer=normalizer)
        loss.backward()
        results.append((loss.detach(), logratio.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert (results[1][1][~mask] == 0).all()


def test_an_unmasked_nan_stays_loud():
    loss = clip_loss(torch.tensor([[math.nan, 0.0]]), torch.ones(1, 1), low=0.2, high=0.2)
    assert aggregate(loss, torch.ones(1, 2, dtype=torch.bool), how="token-mean").isnan()


def test_a_batch_without_a_trained_token_is_zero():
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    for how, normalizer in HOWS:
        assert aggregate(torch.full((2, 3), math.nan), nothing, how=how, normalizer=normalizer) == 0


@pytest.mark.parametrize(
    ("how", "normalizer", "message"),
    [
        ("mean", None, "how must be"),
        ("mean", 3, "how must be"),
        ("sequence-mean", 3, "leave it out"),
        ("constant-length", None, "longest completion"),
        ("token-mean", 0, "positive"),
        ("token-mean", math.nan, "positive"),
        ("constant-length", -1, "positive"),
    ],
)
def test_aggregate_refuses_what_it_cannot_mean(as_users_see, how, normalizer, message):
    with pytest.raises(ValueError, match=message):
        as_users_see("clip").aggregate(torch.ones(1, 2), torch.ones(1, 2).bool(), how=how, normalizer=normalizer)


def test_aggregate_refuses_a_mask_of_another_shape(as_users_see):
    with pytest.raises(ValueError, match=r"mask must have the loss's shape \(2, 2\), got \(2,\)"):
        as_users_see("clip").aggregate(torch.ones(2, 2), torch.ones(2).bool(), how="token-mean")
