import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import reference
from entrostat import Region, TokenStats, entropy, entropy_change, regions, token_stats
from entrostat.entropy import bracket, entropy_change_own_term, excess_surprisal

finite = st.floats(-30.0, 30.0, width=32) | st.sampled_from([0.0, 1.0, -1e4, 1e4, 80.0])
logit = finite | st.just(-math.inf)


@st.composite
def one_token(draw, logit=logit):
    """Logits with at least one finite, and a token that is possible."""
    logits = draw(st.lists(logit, min_size=1, max_size=12))
    taken = draw(st.integers(0, len(logits) - 1))
    assume(logits[taken] > -math.inf)
    return logits, taken


def double_stats(z, taken):
    """TokenStats of one token in float64, differentiable, as the textbook has them."""
    logps = z.log_softmax(-1)
    p = logps.exp()
    sums = (logps[taken], -(p * logps).sum(), (p * p).sum(), (p * p * logps).sum())
    return TokenStats(*(x.reshape(1, 1) for x in sums))


# token_stats


@given(one_token(), st.sampled_from([1.0, 0.7, 1.3]))
def test_stats_are_the_reference_s(token, temperature):
    logits, taken = token
    ours = token_stats(torch.tensor([[logits]]), torch.tensor([[taken]]), temperature=temperature)
    expected = reference.stats(logits, taken, temperature)
    for name, x, y in zip(TokenStats._fields, ours, expected, strict=True):
        torch.testing.assert_close(x, torch.tensor([[y]]), rtol=1e-5, atol=1e-30, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_large_vocabulary_keeps_its_precision_in_any_dtype(dtype):
    """Sums over 50,000 tokens, against float64 on the same rounded logits."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 3, 50_000, generator=generator) * 4).to(dtype)
    ids = torch.randint(50_000, (2, 3), generator=generator)
    ours = token_stats(logits, ids)
    for i in range(2):
        for j in range(3):
            expected = double_stats(logits[i, j].double(), ids[i, j])
            for x, y in zip(ours, expected, strict=True):
                assert x.dtype == torch.float32
                torch.testing.assert_close(x[i, j].double(), y[0, 0], rtol=2e-6, atol=0)


def test_an_all_but_deterministic_policy_keeps_its_relative_precision():
    """1 + 1e-9 rounds to 1 in float32: a sum with the largest term in it would give ln p = 0."""
    logits, taken = [0.0, -21.0, -22.0], 0
    ours = token_stats(torch.tensor([[logits]]), torch.tensor([[taken]]))
    logprob, h, *_ = reference.stats(logits, taken)
    assert logprob == pytest.approx(-1.0371e-9, rel=1e-3)
    assert ours.logprobs.item() == pytest.approx(logprob, rel=1e-5)
    assert ours.entropy.item() == pytest.approx(h, rel=1e-5)


def test_impossible_tokens_add_nothing():
    some = token_stats(torch.tensor([[[1.0, 2.0, 0.5]]]), torch.tensor([[1]]))
    more = token_stats(torch.tensor([[[-math.inf, 1.0, 2.0, -math.inf, 0.5]]]), torch.tensor([[2]]))
    assert all(torch.equal(x, y) for x, y in zip(some, more, strict=True))
    assert all(x.isfinite().all() for x in more)


def test_an_impossible_taken_token_has_log_probability_minus_inf_and_no_own_term():
    stats = token_stats(torch.tensor([[[-math.inf, 1.0, 2.0]]]), torch.tensor([[0]]))
    assert stats.logprobs.item() == -math.inf
    assert bracket(stats).item() == pytest.approx(reference.bracket([-math.inf, 1.0, 2.0], 0))
    assert entropy_change_own_term(stats, torch.zeros(1, 1), torch.ones(1, 1)).item() == 0


@pytest.mark.parametrize("junk", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_logits_that_are_no_distribution_give_nan_to_their_own_token_alone(junk):
    stats = token_stats(torch.tensor([[[1.0, 2.0], junk, [3.0, 0.0]]]), torch.zeros(1, 3, dtype=torch.long))
    for x in stats:
        assert x.isnan().tolist() == [[False, True, False]]


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 7, 8, 100])
@pytest.mark.parametrize("shape", [(4, 6), (1, 24), (24, 1), (5, 5)])
def test_chunks_of_any_size_and_views_give_the_same_numbers(monkeypatch, tokens, shape):
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(shape[0] + 1, shape[1] + 1, 9, generator=generator)
    view = whole[1:, :-1]
    ids = torch.randint(9, shape, generator=generator)
    before, expected = whole.clone(), token_stats(view.contiguous(), ids)
    monkeypatch.setattr(entropy, "_CPU_ELEMENTS", 9 * tokens)
    flipped = view.transpose(1, 2).contiguous().transpose(1, 2)
    for logits in (view, flipped, view.expand(shape[0], -1, -1)):
        assert all(torch.equal(x, y) for x, y in zip(token_stats(logits, ids), expected, strict=True))
    assert torch.equal(whole, before), "the caller's logits were written to"


class Allocations(TorchDispatchMode):
    """Bytes of the largest storage that an operation returned, other than the inputs'."""

    def __init__(self, *inputs):
        self.known, self.largest = {x.untyped_storage().data_ptr() for x in inputs}, 0
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in self.known:
                self.largest = max(self.largest, x.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[:, :-1], lambda x: x.transpose(0, 1)])
def test_no_tensor_is_larger_than_the_two_buffers(view):
    logits = view(torch.zeros(4, 600, 4096, dtype=torch.bfloat16))
    ids = torch.zeros(logits.shape[:2], dtype=torch.long)
    with Allocations(logits, ids) as allocations:
        token_stats(logits, ids)
    assert 0 < allocations.largest <= 2 * 4 * entropy._CPU_ELEMENTS < logits.nbytes


def test_a_vocabulary_larger_than_a_buffer_goes_token_by_token():
    logits = torch.zeros(1, 2, entropy._CPU_ELEMENTS + 1)
    stats = token_stats(logits, torch.tensor([[0, entropy._CPU_ELEMENTS]]))
    assert stats.entropy.tolist() == [[pytest.approx(math.log(logits.size(-1)))] * 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_numbers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 150_000, generator=generator).to(torch.bfloat16)
    ids = torch.randint(150_000, (3, 5), generator=generator)
    for ours, expected in zip(token_stats(logits.cuda(), ids.cuda()), token_stats(logits, ids), strict=True):
        torch.testing.assert_close(ours.cpu(), expected, rtol=1e-5, atol=0)


def test_a_statistic_has_no_gradient():
    stats = token_stats(torch.zeros(1, 2, 3, requires_grad=True), torch.zeros(1, 2, dtype=torch.int32))
    assert not any(x.requires_grad for x in stats)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5)])
def test_an_empty_batch_has_empty_stats(shape):
    stats = token_stats(torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.long))
    assert all(x.shape == shape[:2] for x in stats)


def test_all_but_the_log_probabilities_may_be_missing():
    assert TokenStats(torch.zeros(1, 1))[1:] == (None, None, None)


@pytest.mark.parametrize("bad", [-1, 3, -100])
def test_an_id_outside_the_vocabulary_is_refused(bad):
    with pytest.raises(ValueError, match=rf"ids must be in \[0, 3\), got {bad}"):
        token_stats(torch.zeros(1, 2, 3), torch.tensor([[0, bad]]))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(bad):
    with pytest.raises(ValueError, match="temperature must be positive"):
        token_stats(torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.long), temperature=bad)


@pytest.mark.parametrize(("logits", "ids"), [((2, 3, 4), (3, 2)), ((3, 4), (3,)), ((2, 3, 4), (2, 4))])
def test_shapes_that_do_not_match_are_refused(as_users_see, logits, ids):
    with pytest.raises(ValueError, match=r"logits must be \(b t v\) and ids \(b t\)"):
        as_users_see("entropy").token_stats(torch.zeros(logits), torch.zeros(ids, dtype=torch.long))


# The first-order change of entropy

wide = st.floats(-60.0, 60.0) | st.sampled_from([0.0, 300.0, -300.0])
logratios = st.floats(-3.0, 3.0)
advantages = st.floats(0.01, 4.0) | st.floats(-4.0, -0.01) | st.just(0.0)


@given(one_token(wide), logratios, advantages)
def test_the_identity_holds_against_autograd(token, logratio, advantage):
    """<grad_z r A, grad_z H> = -A r [Q_a - E[Q]] in float64, r = p_a / sg(p_a) e^logratio."""
    logits, taken = token
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    stats = double_stats(z, taken)
    surrogate = advantage * math.exp(logratio) * (stats.logprobs - stats.logprobs.detach()).exp().sum()
    (grad_surrogate,) = torch.autograd.grad(surrogate, z, retain_graph=True)
    (grad_entropy,) = torch.autograd.grad(stats.entropy.sum(), z)
    terms = torch.tensor([[[logratio]], [[advantage]]], dtype=torch.float64)
    ours = entropy_change(TokenStats(*(x.detach() for x in stats)), *terms)
    assert ours.item() == pytest.approx((grad_surrogate @ grad_entropy).item(), rel=1e-9, abs=1e-13)


@given(one_token(st.floats(-8.0, 8.0)), logratios, advantages)
def test_a_small_step_on_the_logits_moves_entropy_as_predicted(token, logratio, advantage):
    logits, taken = token
    z = torch.tensor(logits, dtype=torch.float64)
    onehot = torch.nn.functional.one_hot(torch.tensor(taken), len(logits))
    eta = 1e-4 / (abs(advantage) * math.exp(logratio) or 1.0)  # a step of one length: the error is its cube
    step = eta * advantage * math.exp(logratio) * (onehot - z.softmax(-1))  # eta grad_z r A
    after, before = (double_stats(z + s, taken).entropy.item() for s in (step, -step))
    terms = torch.tensor([[[logratio]], [[advantage]]], dtype=torch.float64)
    predicted = eta * entropy_change(double_stats(z, taken), *terms).item()
    assert (after - before) / 2 == pytest.approx(predicted, rel=1e-6, abs=2e-12)


@given(one_token(st.floats(-20.0, 20.0, width=32)), logratios, advantages)
def test_from_logits_to_the_change_is_the_reference_s(token, logratio, advantage):
    logits, taken = token
    stats = token_stats(torch.tensor([[logits]]), torch.tensor([[taken]]))
    ours = entropy_change(stats, torch.tensor([[logratio]]), torch.tensor([[advantage]])).item()
    scale = abs(advantage) * math.exp(logratio) * max(1e-30, stats.entropy.item())  # Q_a and E[Q] are at most this
    assert ours == pytest.approx(reference.entropy_change(logits, taken, logratio, advantage), abs=1e-5 * scale)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=8))
def test_bracket_and_excess_surprisal_have_mean_zero_under_the_policy(logits):
    v = len(logits)
    z = torch.tensor(logits)
    stats = token_stats(z.expand(1, v, v), torch.arange(v)[None])
    for statistic in (bracket, excess_surprisal):
        mean = (z.softmax(-1) * statistic(stats)[0]).sum().item()
        assert mean == pytest.approx(0, abs=1e-6 * max(1.0, stats.entropy[0, 0].item()))


@given(one_token(st.floats(-20.0, 20.0, width=32)), st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), logratios)
def test_the_own_term_has_the_sign_of_its_region_and_the_sums_are_what_it_lacks(token, advantage, logratio):
    logits, taken = token
    stats = token_stats(torch.tensor([[logits]]), torch.tensor([[taken]]))
    x, a = torch.tensor([[logratio]]), torch.tensor([[advantage]])
    own = entropy_change_own_term(stats, x, a)
    sign = {Region.NONE: 0, Region.E1: -1, Region.E2: 1, Region.E3: 1, Region.E4: -1}
    assert own.sign().item() == sign[Region(int(regions(stats.logprobs, stats.entropy, a)))]
    expected = stats.sum_p2_logp + stats.entropy * stats.sum_p2
    torch.testing.assert_close(own - entropy_change(stats, x, a), -a * x.exp() * expected, rtol=1e-4, atol=1e-5)


def test_excess_surprisal_is_positive_for_a_likely_token():
    stats = token_stats(torch.tensor([[[2.0, 0.0, 0.0]] * 2]), torch.tensor([[0, 1]]))
    likely, unlikely = excess_surprisal(stats)[0].tolist()
    logprob, h, *_ = reference.stats([2.0, 0.0, 0.0], 0)
    assert likely == pytest.approx(logprob + h, rel=1e-5)
    assert unlikely < 0 < likely


def test_what_is_missing_is_named():
    half = TokenStats(torch.zeros(1, 1), torch.zeros(1, 1))
    arguments = torch.zeros(1, 1), torch.zeros(1, 1)
    with pytest.raises(ValueError, match="stats lack sum_p2, sum_p2_logp"):
        entropy_change(half, *arguments)
    for function in (excess_surprisal, lambda stats: entropy_change_own_term(stats, *arguments)):
        with pytest.raises(ValueError, match="stats lack entropy"):
            function(TokenStats(torch.zeros(1, 1)))


def test_advantages_per_sequence_without_their_second_dimension_are_refused(as_users_see):
    ours, x = as_users_see("entropy"), torch.zeros(3, 3)
    stats = ours.TokenStats(x, x, x, x)
    for function in (
        lambda a: ours.regions(x, x, a),
        lambda a: ours.entropy_change(stats, x, a),
        lambda a: ours.entropy_change_own_term(stats, x, a),
    ):
        with pytest.raises(ValueError, match=r"advantages must be \(b t\) = \(3, 3\)"):
            function(torch.ones(3))
        function(torch.ones(3, 1))


# The regions


@pytest.mark.parametrize(
    ("probability", "advantage", "region"),
    [(0.9, 1, Region.E1), (0.1, 1, Region.E2), (0.9, -1, Region.E3), (0.1, -1, Region.E4), (0.9, 0, Region.NONE)],
)
def test_the_table_of_regions(probability, advantage, region):
    logprobs = torch.tensor([[math.log(probability)]])
    assert regions(logprobs, torch.tensor([[0.5]]), torch.tensor([[float(advantage)]])).item() == region


quarter = st.integers(0, 12).map(lambda i: i / 4)  # exact in float32, so ties are ties


@given(st.lists(st.tuples(quarter, quarter, quarter.map(lambda x: x - 1)), min_size=1))
def test_regions_are_the_reference_s_ties_included(tokens):
    surprisal, entropies, a = (torch.tensor([list(column)]) for column in zip(*tokens, strict=True))
    ours = regions(-surprisal, entropies, a)
    assert ours[0].tolist() == [reference.region(-s, h, x) for s, h, x in tokens]
    assert ours.dtype == torch.long


def test_a_uniform_policy_has_no_region():
    stats = token_stats(torch.zeros(1, 3, 1000), torch.tensor([[0, 1, 999]]))
    assert regions(stats.logprobs, stats.entropy, torch.ones(1, 1)).tolist() == [[0, 0, 0]]


def test_nan_has_no_region():
    x = torch.tensor([[math.nan]])
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    assert [regions(*inputs).item() for inputs in ((x, zero, one), (one, x, one), (one, zero, x))] == [0, 0, 0]
