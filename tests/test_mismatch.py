"""The sampler's mismatch against sums over a whole vocabulary, and against each of its causes."""

import math

import pytest
import torch

from entrostat.mismatch import mismatch, mismatch_sums

VOCABULARY, DRAWN = 6, 400_000


@pytest.fixture
def policies():
    """The trainer's log-probabilities and the sampler's, (v,), not far apart."""
    torch.manual_seed(0)
    logits = torch.randn(VOCABULARY, dtype=torch.float64)
    return logits.log_softmax(0), (logits + 0.3 * torch.randn(VOCABULARY, dtype=torch.float64)).log_softmax(0)


def drawn(logprobs):
    torch.manual_seed(1)
    return torch.multinomial(logprobs.exp(), DRAWN, replacement=True)[None]


def found(logratio, clipped=None):
    return mismatch(mismatch_sums(logratio, torch.ones_like(logratio, dtype=torch.bool), clipped))


def test_means_of_draws_are_sums_over_the_vocabulary(policies):
    trainer, sampler = policies
    ids = drawn(sampler)
    got = found((trainer - sampler)[ids], (trainer - sampler)[ids] > 0.1)
    weights, logratio = sampler.exp(), trainer - sampler
    assert got["mismatch"] == pytest.approx(float((weights * logratio.abs()).sum()), rel=0.01)
    assert got["mismatch_rms"] == pytest.approx(float((weights * logratio.square()).sum().sqrt()), rel=0.01)
    assert got["mismatch_clipped"] == pytest.approx(float(weights[logratio > 0.1].sum()), rel=0.02)
    spread = float((weights * torch.expm1(logratio).square()).sum().sqrt())
    assert got["mismatch_bias_error"] == pytest.approx(spread / math.sqrt(DRAWN), rel=0.02)
    # tokens were drawn from what was reported: no bias, however far the policies lie apart
    assert float((weights * torch.expm1(logratio)).sum()) == pytest.approx(0.0, abs=1e-12)
    assert abs(got["mismatch_bias"]) < 3 * got["mismatch_bias_error"]


def test_the_bias_is_half_the_square_of_noise_in_the_numbers(policies):
    trainer, _ = policies
    noise = 0.1 * torch.randn(1, DRAWN, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # one policy on both sides, and noise in what is written down of it
    got = found(trainer[drawn(trainer)] - (trainer[drawn(trainer)] + noise))
    assert got["mismatch_bias"] > 10 * got["mismatch_bias_error"]
    assert got["mismatch_bias"] == pytest.approx(got["mismatch_rms"] ** 2 / 2, rel=0.1)


def test_the_bias_is_the_mass_that_the_sampler_leaves_out(policies):
    trainer, _ = policies
    kept = trainer > trainer.sort().values[1]
    sampler = trainer.masked_fill(~kept, -math.inf).log_softmax(0)
    ids = drawn(sampler)
    got = found((trainer - sampler)[ids])
    left_out = float(trainer.exp()[~kept].sum())
    assert left_out > 0.01
    assert got["mismatch_bias"] == pytest.approx(-left_out, rel=1e-6)


def test_sums_add_up_and_masked_tokens_may_hold_anything():
    torch.manual_seed(3)
    logratio, clipped = torch.randn(4, 5) / 10, torch.rand(4, 5) > 0.5
    mask = torch.rand(4, 5) > 0.3
    hidden = torch.where(mask, logratio, torch.nan)
    whole = mismatch_sums(hidden, mask, clipped)
    parts = sum(mismatch_sums(hidden[i : i + 1], mask[i : i + 1], clipped[i : i + 1]) for i in range(4))
    torch.testing.assert_close(parts, whole)
    alone = mismatch_sums(logratio[mask][None], mask[mask][None], clipped[mask][None])
    torch.testing.assert_close(alone, whole)
    assert whole[0] == mask.sum()


def test_what_is_not_known_is_left_out():
    logratio = torch.zeros(1, 3)
    assert "mismatch_clipped" not in found(logratio)
    assert found(logratio)["mismatch"] == 0.0
    assert mismatch(mismatch_sums(logratio, torch.zeros(1, 3, dtype=torch.bool))) == {}


def test_a_small_ratio_keeps_its_bias_in_float32():
    """exp(x) - 1 in float32 would give multiples of 6e-8."""
    assert found(torch.full((1, 10), 1e-9))["mismatch_bias"] == pytest.approx(1e-9, rel=1e-6)
