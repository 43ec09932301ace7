"""Objectives that weight PPO's clipped loss, against scalar forms: loss, gradient, and the rule that moves them."""

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from entrostat.objectives import OBJECTIVES
from entrostat.objectives.entrocraft import Entrocraft
from entrostat.objectives.repo import Repo
from entrostat.objectives.stare import Stare
from entrostat.objectives.w_reinforce import WReinforce
from entrostat.strategies import RolloutSummary
from tokens_with_a_loss import close, drawn, totals, trained

seeds = st.integers(0, 2**32)
entropies = st.lists(st.floats(0.0, 3.0) | st.just(math.nan), min_size=1, max_size=15)


def observed(objective, history):
    state, states = objective.init(), []
    for i, entropy in enumerate(history):
        state = objective.observe(state, RolloutSummary(i / len(history), entropy))
        states.append(state)
    return states


@given(seed=seeds, history=entropies, low=st.sampled_from([0.2, 0.1]), high=st.sampled_from([0.2, 0.28]))
def test_repo_is_grpo_on_rescaled_advantages(seed, history, low, high):
    *lists, mask = drawn(seed)
    logprobs, logratio, advantages = trained(*lists, mask=mask)
    objective = Repo(target=1.0, zeta=0.1, zeta_min=0.05, zeta_max=1.0, low=low, high=high)
    states = observed(objective, history)
    zetas = reference.repo_zetas(history, 1.0, 0.1, 0.05, 1.0)
    assert [state.zeta for state in states] == pytest.approx(zetas)
    weights = reference.repo_weights(logprobs, advantages, zetas[-1])
    wanted = reference.weighted(weights, logratio, advantages, low, high)
    close(totals(objective, states[-1], *lists, mask), wanted)


@given(seed=seeds, entropy=st.sampled_from([0.1, 0.5]), share=st.sampled_from([0.1, 0.3, 1.0]))
def test_stare_weights_surprising_tokens_of_good_answers_while_entropy_is_low(seed, entropy, share):
    *lists, mask = drawn(seed)
    logprobs, logratio, advantages = trained(*lists, mask=mask)
    assume(logprobs)
    objective = Stare(target=0.3, weight=1.5, share=share)
    (state,) = observed(objective, [entropy])
    old = [lp - lr for lp, lr in zip(logprobs, logratio, strict=True)]
    # the edge is taken in float32: no ties, and no token at the edge
    edges = sorted(-lp for lp in old)
    assume(all(b - a > 1e-4 for a, b in itertools.pairwise(edges)))
    place = (1 - share) * (len(edges) - 1)
    assume(abs(place - round(place)) > 1e-6 or share == 1.0)
    weights = reference.stare_weights(old, advantages, 1.5, share)
    if entropy > 0.3:
        weights = [1.0] * len(weights)
    close(totals(objective, state, *lists, mask), reference.weighted(weights, logratio, advantages, 0.2, 0.2))


@pytest.mark.parametrize(("entropy", "kept"), [(0.05, -1), (0.15, 0), (0.3, 1), (math.nan, 0)])
@given(seed=seeds)
def test_entrocraft_drops_one_sign_out_of_its_band(entropy, kept, seed):
    *lists, mask = drawn(seed)
    _, logratio, advantages = trained(*lists, mask=mask)
    objective = Entrocraft(band_low=0.1, band_high=0.2)
    (state,) = observed(objective, [entropy])
    weights = [1.0 if kept * a >= 0 else 0.0 for a in advantages]
    close(totals(objective, state, *lists, mask), reference.weighted(weights, logratio, advantages, 0.2, 0.2))


def test_entrocrafts_band_moves_over_the_run():
    objective = Entrocraft(band_low="linear:0.6:0.1", band_high="linear:0.7:0.2")
    states = observed(objective, [0.65, 0.65, 0.65, 0.65])
    # progress 0, 1/4, 1/2, 3/4: bands 0.6-0.7, 0.475-0.575, 0.35-0.45, 0.225-0.325
    assert [state.dropped for state in states] == [0, -1, -1, -1]
    assert [state.target for state in states] == pytest.approx([0.65, 0.525, 0.4, 0.275])


@given(seed=seeds, weight=st.sampled_from([0.0, 0.1, 2.0]))
def test_w_reinforce_weights_good_answers(seed, weight):
    *lists, mask = drawn(seed)
    _, logratio, advantages = trained(*lists, mask=mask)
    objective = WReinforce(weight=weight)
    weights = [weight if a > 0 else 1.0 for a in advantages]
    found = totals(objective, objective.init(), *lists, mask)
    close(found, reference.weighted(weights, logratio, advantages, 0.2, 0.2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("repo", {"target": 0.0}, "target must be over 0 nats throughout, got 0"),
        ("repo", {"zeta": 0.0}, r"\|zeta\| must be from zeta_min, 0.001, to zeta_max, 0.5, got 0"),
        ("stare", {"share": 0.0}, r"share must be in \(0, 1\], got 0"),
        ("entrocraft", {"band_low": 0.9}, "band_low must not be over band_high, got 0.9 and linear:0.7:0.2"),
        ("w-reinforce", {"weight": -1.0}, "weight must be at least 0, got -1"),
    ],
)
def test_a_bad_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        OBJECTIVES.make(name, **options)
