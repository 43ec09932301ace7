"""Laws that every strategy of the registry obeys."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entrostat import ClipBounds, TokenStats
from entrostat.engines.summary import summarise
from entrostat.strategies import (
    STRATEGIES,
    RolloutSummary,
    make_strategy,
    state_from_json,
    state_to_json,
    strategy_name,
)

NAMES = sorted(STRATEGIES)
logprobs = st.lists(st.floats(-40.0, 0.0, width=32), min_size=1, max_size=6)
# NaN: a rollout without a trained token
entropies = st.lists(st.floats(0.0, 12.0) | st.just(math.nan), max_size=12)


def policy(values, grad=False):
    table = torch.tensor([values], dtype=torch.float32, requires_grad=grad)
    return TokenStats(table, torch.full_like(table, 0.4))


def without_tokens(strategy, progress):
    """What an engine tells of a rollout in which every completion was masked."""
    nothing = torch.zeros(4, 4)
    return summarise(nothing, group=2, progress=progress, updates=8, ceiling=12.0)


def observed(strategy, history):
    state = strategy.init()
    for i, entropy in enumerate(history):
        progress = i / len(history)
        blank = without_tokens(strategy, progress)
        state = strategy.observe(state, blank if math.isnan(entropy) else RolloutSummary(progress, entropy, 0.1, 0.5))
    return state


@pytest.mark.parametrize("name", NAMES)
@given(values=logprobs, history=entropies)
def test_bounds_are_per_token_float32_without_gradient_and_never_nan(name, values, history):
    strategy = make_strategy(name)
    bounds = strategy.bounds(observed(strategy, history), policy(values, grad=True))
    assert isinstance(bounds, ClipBounds)
    for side in bounds:
        assert side.shape == (1, len(values))
        assert side.dtype == torch.float32
        assert not side.requires_grad
        assert not side.isnan().any()


@pytest.mark.parametrize("name", NAMES)
@given(values=logprobs, history=entropies)
def test_observe_and_bounds_are_pure(name, values, history):
    strategy = make_strategy(name)
    state, again = observed(strategy, history), observed(strategy, history)
    assert state == again
    old = policy(values)
    first, second = strategy.bounds(state, old), strategy.bounds(state, old)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(old.logprobs, policy(values).logprobs)


@pytest.mark.parametrize("name", NAMES)
@given(values=logprobs, history=entropies)
def test_a_rollout_without_tokens_moves_no_bound(name, values, history):
    strategy, old = make_strategy(name), policy(values)
    last = (len(history) - 1) / len(history) if history else 0.0
    state = observed(strategy, history)
    before, after = (
        strategy.bounds(each, old) for each in (state, strategy.observe(state, without_tokens(strategy, last)))
    )
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", NAMES)
@given(history=entropies)
def test_a_state_survives_json_exactly(name, history):
    strategy = make_strategy(name)
    state = observed(strategy, history)
    for value in state:
        for number in value if isinstance(value, tuple) else [value]:
            assert type(number) in (int, float)
            assert math.isfinite(number)
    text = json.dumps(state_to_json(state), allow_nan=False)
    assert state_from_json(strategy, json.loads(text)) == state


@pytest.mark.parametrize("name", NAMES)
def test_a_state_with_a_wrong_field_is_refused(name):
    strategy = make_strategy(name)
    good = state_to_json(strategy.init())
    broken = [{**good, "extra": 1.0}, [], None, "x"]
    for key in good:
        broken += [{**good, key: bad} for bad in (None, "1", True, math.nan, math.inf, ["1"], [[1]], [math.nan])]
        broken.append({k: v for k, v in good.items() if k != key})
    for fields in broken:
        with pytest.raises(ValueError, match="saved state"):
            state_from_json(strategy, fields)


@pytest.mark.parametrize("name", NAMES)
def test_strategies_are_frozen_and_their_names_round_trip(name):
    strategy = make_strategy(name)
    assert strategy_name(strategy) == name
    assert make_strategy(name, **dataclasses.asdict(strategy)) == strategy
    field = dataclasses.fields(strategy)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(strategy, field, 0.3)


@pytest.mark.parametrize("name", NAMES)
def test_acting_on_fresh_tokens_is_what_it_says(name):
    """A window that holds ratio 1 for every token, in every state, can do nothing to fresh tokens."""
    strategy = make_strategy(name)
    for k in range(20):
        low, high = strategy.bounds(observed(strategy, [0.4] * k), policy([-0.01, -1.0, -9.0]))
        excludes_one = bool(((1 - low > 1) | (1 + high < 1)).any())
        assert strategy.acts_on_fresh or not excludes_one


WINDOWS = [(name, {}) for name in NAMES] + [
    ("clip-higher", {"high": 0.5}),
    ("id", {"eps": 0.7}),
    ("did", {"upper_beta": 2.0}),
    ("od", {"eps": 0.7}),
    ("dynamic", {"upper_dynamic": False}),
    ("dcpo", {"high": 0.01, "cap": 3.0}),
    ("regions", {"e1": -0.5, "e2": 2.0}),
    ("regions", {"e1": 0.6}),
    ("regions", {"e1": -1.0, "e2": -0.5}),
    ("thermostat", {"low": 1.0, "high": 1.0}),
    ("thermostat", {"hold": "both"}),
]


@pytest.mark.parametrize(("name", "chosen"), WINDOWS)
@given(values=logprobs, history=entropies)
def test_no_bound_is_over_the_highest(name, chosen, values, history):
    strategy = make_strategy(name, **chosen)
    high = strategy.bounds(observed(strategy, history), policy(values)).high
    assert high.max().item() <= strategy.highest + 1e-6


@pytest.mark.parametrize(("name", "chosen"), WINDOWS)
def test_the_highest_is_reached(name, chosen):
    """By some token in some state: a looser one would tell of a window that is not there."""
    strategy = make_strategy(name, **chosen)
    histories = ([1.0], [1.0, 0.1], [1.0, 0.1, 0.1, 0.1], [0.1, 1.0, 1.0], [0.1] * 20)
    states = [observed(strategy, history) for history in histories]
    highs = torch.stack([strategy.bounds(s, policy([-0.01, -1.0, -9.0, -40.0])).high for s in states])
    assert highs.max().item() == pytest.approx(strategy.highest, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_per_token_is_what_it_says(name):
    strategy = make_strategy(name)
    # entropy falls, so that a floor acts
    states = [observed(strategy, [0.4 * 0.8**i for i in range(k)]) for k in range(9)]
    bounds = [side for s in states for side in strategy.bounds(s, policy([-0.01, -1.0, -9.0]))]
    assert strategy.per_token == any(side.unique().numel() > 1 for side in bounds)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clip-lowr", {}, "unknown strategy 'clip-lowr': did you mean clip-lower"),
        ("zzz", {}, "unknown strategy 'zzz': known: grpo"),
        ("clip-lower", {"hihg": 1.0}, "has no option 'hihg': did you mean high"),
        ("grpo", {"low": -0.1}, "low must be at least 0"),
        ("grpo", {"high": -0.1}, "high must be at least 0"),
        ("grpo", {"low": math.nan}, "low must be at least 0"),
        ("id", {"first_phase": 0.0}, "first_phase must be between 0 and 1"),
        ("did", {"upper_alpha": 0.1}, "upper_alpha must be at most 0"),
        ("od", {"floor": 1.5}, "floor must be in"),
        ("od", {"lower_beta": 0.05}, "lower_beta must be in"),
    ],
)
def test_a_bad_name_option_or_value_says_what_to_use(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_strategy(name, **options)
    assert "\n" not in str(caught.value)
