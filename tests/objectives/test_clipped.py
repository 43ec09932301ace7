"""Clip-Cov, KL-Cov and CE-GPPO on top of PPO's clipped loss, against their released formulas in scalar Python."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from entrostat.objectives.clipped import Counted
from entrostat.objectives.covariance import ClipCov, KlCov
from entrostat.objectives.gppo import CeGppo
from entrostat.strategies import RolloutSummary
from tokens_with_a_loss import N, close, drawn, totals, trained

columns = st.integers(0, 2**32).map(drawn)


def under(objective, *lists, rollouts=1):
    return totals(objective, Counted(rollouts), *lists)


@given(columns=columns, low=st.sampled_from([0.2, 0.1]), high=st.sampled_from([0.2, 0.28]))
def test_clip_cov_that_takes_all_candidates_is_the_release(columns, low, high):
    *lists, mask = columns
    logprobs, logratio, advantages = trained(*lists, mask=mask)
    assume(logprobs)
    objective = ClipCov(ratio=1.0, lower=0.1, upper=2.0, low=low, high=high)
    taken = reference.clip_cov_candidates(logprobs, logratio, advantages, low, high, 0.1, 2.0)
    close(under(objective, *lists, mask), reference.clip_cov(logprobs, logratio, advantages, low, high, taken))


LOGPROBS = [-0.1, -0.2, -3.0, -0.1, -2.0, -0.3, -0.1, -2.5, -0.2, -1.0, -0.4, -0.1]
ADVANTAGES = [2.0, 2.0, -2.0, 2.0, -2.0, 2.0, 2.0, -2.0, 2.0, -2.0, 2.0, 2.0]


@pytest.mark.parametrize(("ratio", "count"), [(1e-4, 1), (0.2, 2), (0.25, 3)])
def test_clip_cov_draws_so_many_of_the_candidates(ratio, count):
    candidates = reference.clip_cov_candidates(LOGPROBS, [0.0] * N, ADVANTAGES, 0.2, 0.2, 0.5, 50.0)
    assert sum(candidates) > 3
    seen = []
    for rollouts in range(40):
        objective = ClipCov(ratio=ratio, lower=0.5, upper=50.0)
        found = under(objective, LOGPROBS, [0.0] * N, ADVANTAGES, [True] * N, rollouts=rollouts)
        taken = tuple(i for i, (_, gradient) in enumerate(found) if gradient == 0)
        assert len(taken) == count
        assert all(candidates[i] for i in taken)
        assert found == under(objective, LOGPROBS, [0.0] * N, ADVANTAGES, [True] * N, rollouts=rollouts)
        seen += taken
    # every candidate has its turn
    assert set(seen) == {i for i, c in enumerate(candidates) if c}


def test_clip_cov_leaves_torchs_generator_alone():
    before = torch.random.get_rng_state()
    under(ClipCov(lower=0.5), LOGPROBS, [0.0] * N, ADVANTAGES, [True] * N)
    assert torch.equal(torch.random.get_rng_state(), before)


@given(columns=columns, ratio=st.sampled_from([2e-4, 0.3, 1.0]), coef=st.floats(0.0, 3.0))
def test_kl_cov_is_the_release(columns, ratio, coef):
    *lists, mask = columns
    logprobs, logratio, advantages = trained(*lists, mask=mask)
    assume(logprobs)
    wanted = reference.kl_cov(logprobs, logratio, advantages, ratio, coef)
    close(under(KlCov(ratio=ratio, coef=coef), *lists, mask), wanted)


@given(
    columns=columns,
    betas=st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 2.0)),
    sides=st.sampled_from([(0.2, 0.28), (0.2, math.inf), (math.inf, 0.2)]),
)
def test_ce_gppo_is_the_release(columns, betas, sides):
    *lists, mask = columns
    _, logratio, advantages = trained(*lists, mask=mask)
    objective = CeGppo(beta_low=betas[0], beta_high=betas[1], low=sides[0], high=sides[1])
    close(under(objective, *lists, mask), reference.ce_gppo(logratio, advantages, *sides, *betas))


def test_gppo_of_weight_zero_is_the_clip_itself():
    logratio, advantages = [0.5, -0.5, 0.1, 0.0], [1.0, -1.0, 1.0, 2.0]
    found = under(CeGppo(beta_low=0.0, beta_high=0.0), [-1.0] * N, logratio * 3, advantages * 3, [True] * N)
    gradients = [reference.clip_gradient(lr, a, 0.2, 0.2) for lr, a in zip(logratio, advantages, strict=True)] * 3
    assert [gradient for _, gradient in found] == pytest.approx(gradients)


def test_defaults_are_those_of_the_authors_scripts():
    """7b_clip_cov.sh, 32b_kl_cov.sh and 7B_perf_run_gppo_v1_beta1_075_beta2_1_ours_math.sh."""
    assert ClipCov() == ClipCov(low=1.0, high=1.0, ratio=2e-4, lower=1.0, upper=5.0)
    assert KlCov() == KlCov(low=0.2, high=0.2, ratio=2e-4, coef=1.0)
    assert CeGppo() == CeGppo(low=0.2, high=0.2, beta_low=0.75, beta_high=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipCov(ratio=0.0), "ratio must be in"),
        (lambda: ClipCov(lower=2.0, upper=1.0), "upper must be at least lower, 2.0"),
        (lambda: KlCov(coef=-1.0), "coef must be at least 0"),
        (lambda: CeGppo(beta_low=math.nan), "beta_low must be at least 0"),
        (lambda: CeGppo(low=-0.1), "low must be at least 0"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rollouts_are_counted():
    objective = ClipCov()
    state = objective.observe(objective.init(), RolloutSummary(0.0, 0.4))
    assert state == Counted(1)
