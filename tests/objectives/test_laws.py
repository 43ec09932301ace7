"""Laws that every objective of the registry obeys."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entrostat import TokenStats
from entrostat.engines.summary import summarise
from entrostat.objectives import OBJECTIVES, LossInputs, objective_name
from entrostat.strategies import RolloutSummary, state_from_json, state_to_json

NAMES = sorted(OBJECTIVES)
# NaN: a rollout without a trained token
entropies = st.lists(st.floats(0.0, 12.0) | st.just(math.nan), max_size=12)
LOGPROBS = [[-0.01, -0.02, -2.0, -0.03], [-0.04, -1.0, -0.005, -0.02]]
OLD = [[-0.02, -0.3, -1.5, -0.3], [-0.01, -1.2, -0.02, -0.001]]
ADVANTAGES = [[4.0], [-1.0]]
MASK = torch.tensor([[True, True, True, False], [True, True, False, True]])


def observed(objective, history):
    state = objective.init()
    for i, entropy in enumerate(history):
        progress = i / len(history)
        blank = summarise(torch.zeros(4, 4), group=2, progress=progress, updates=8, ceiling=12.0)
        state = objective.observe(state, blank if math.isnan(entropy) else RolloutSummary(progress, entropy, 0.1, 0.5))
    return state


def leaves():
    """Everything that a correction is given, as leaves that could carry gradient."""
    make = lambda values: torch.tensor(values, requires_grad=True)  # noqa: E731
    return {"logprobs": make(LOGPROBS), "old": make(OLD), "advantages": make(ADVANTAGES), "entropy": make(OLD)}


def correction(objective, state, given, mask=MASK):
    inputs = LossInputs(
        logprobs=given["logprobs"],
        logratio=given["logprobs"] - given["old"].detach(),
        advantages=given["advantages"],
        old=TokenStats(given["old"], given["entropy"]),
        entropy=given["entropy"],
        mask=mask,
    )
    return objective.correction(state, inputs)


@pytest.mark.parametrize("name", NAMES)
@given(history=entropies)
def test_a_state_survives_json_exactly(name, history):
    objective = OBJECTIVES[name]()
    state = observed(objective, history)
    for value in state:
        assert type(value) in (int, float)
        assert math.isfinite(value)
    assert state_from_json(objective, json.loads(json.dumps(state_to_json(state), allow_nan=False))) == state


@pytest.mark.parametrize("name", NAMES)
@given(history=entropies)
def test_observe_and_correction_are_pure(name, history):
    objective = OBJECTIVES[name]()
    state, again = observed(objective, history), observed(objective, history)
    assert state == again
    first, second = correction(objective, state, leaves()), correction(objective, state, leaves())
    assert torch.equal(first, second)
    assert first.shape == MASK.shape
    assert first.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_goes_through_the_current_policy_alone(name):
    objective = OBJECTIVES[name]()
    given_tensors = leaves()
    # under the target and the band of each
    correction(objective, observed(objective, [0.05]), given_tensors).sum().backward()
    assert given_tensors["logprobs"].grad is not None
    assert given_tensors["logprobs"].grad.abs().sum() > 0
    for fixed in ("old", "advantages"):
        assert given_tensors[fixed].grad is None or not given_tensors[fixed].grad.any(), fixed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_masked_tokens_never_matter(name, junk):
    objective = OBJECTIVES[name]()
    state = observed(objective, [0.9])
    clean, dirty = leaves(), leaves()
    for tensors in (clean, dirty):  # one a token, as under GAE
        tensors["advantages"] = tensors["advantages"].detach().expand(2, 4).clone()
    dirty["advantages"][~MASK] = junk
    with torch.no_grad():
        for key in ("logprobs", "entropy"):
            dirty[key][~MASK] = junk
        dirty["old"][~MASK] = 0.0
    want, got = correction(objective, state, clean), correction(objective, state, dirty)
    assert torch.equal(got[MASK], want[MASK])
    assert got.isfinite().all()
    want[MASK].sum().backward()
    got[MASK].sum().backward()
    assert torch.equal(dirty["logprobs"].grad, clean["logprobs"].grad)
    assert not dirty["logprobs"].grad[~MASK].any()


@pytest.mark.parametrize("name", NAMES)
def test_with_nothing_to_train_on_it_is_zero(name):
    objective = OBJECTIVES[name]()
    term = correction(objective, observed(objective, [0.9]), leaves(), torch.zeros_like(MASK))
    assert torch.equal(term, torch.zeros(2, 4))


@pytest.mark.parametrize("name", NAMES)
def test_objectives_are_frozen_and_their_names_round_trip(name):
    objective = OBJECTIVES[name]()
    assert objective_name(objective) == name
    assert OBJECTIVES[name](**dataclasses.asdict(objective)) == objective
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(objective, dataclasses.fields(objective)[0].name, 0.3)
