"""EntroPIC's controller and its term against the released code's formulas as scalars."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat import TokenStats
from entrostat.objectives import LossInputs
from entrostat.objectives.entropic import Entropic, EntropicState
from entrostat.strategies import RolloutSummary

gains = st.floats(0.0, 5.0)


def observed(objective, history):
    state = objective.init()
    for i, entropy in enumerate(history):
        state = objective.observe(state, RolloutSummary(i / len(history), entropy))
    return state


def term(objective, state, logprobs, logratio, advantages, mask):
    inputs = LossInputs(
        logprobs=logprobs,
        logratio=logratio,
        advantages=advantages,
        old=TokenStats(logprobs.detach() - logratio.detach()),
        entropy=torch.zeros_like(logprobs),
        mask=mask,
    )
    return objective.correction(state, inputs)


@given(history=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20), target=st.floats(0.05, 2.0), kp=gains, ki=gains)
def test_the_controller_is_the_released_one(history, target, kp, ki):
    state = observed(Entropic(target=target, kp=kp, ki=ki), history)
    assert state.alpha == pytest.approx(reference.entropic_alpha(history, target, kp, ki), rel=1e-12, abs=1e-12)
    assert state.total == pytest.approx(math.fsum(h - target for h in history), abs=1e-9)


@given(data=st.data(), alpha=st.floats(-1.0, 1.0), threshold=st.floats(0.3, 0.99))
def test_the_term_is_alpha_times_the_mean_over_likely_tokens(data, alpha, threshold):
    """The engine divides the sum by all trained tokens."""
    rows, columns = 3, 4
    grid = lambda values: data.draw(st.lists(values, min_size=12, max_size=12))  # noqa: E731
    shaped = lambda values: torch.tensor(values, dtype=torch.float64).view(rows, columns)  # noqa: E731
    logprobs, logratio = shaped(grid(st.floats(-2.0, 0.0))), shaped(grid(st.floats(-2.0, 2.0)))
    mask = torch.tensor(grid(st.booleans())).view(rows, columns)
    advantages = torch.tensor(data.draw(st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3)), dtype=torch.float64)
    ours = term(
        Entropic(threshold=threshold), EntropicState(1, 0.1, 0.0, alpha), logprobs, logratio, advantages[:, None], mask
    )
    scalar = reference.entropic_term(
        alpha, logprobs.tolist(), logratio.tolist(), advantages.tolist(), mask.tolist(), threshold
    )
    assert float(ours.sum()) / max(int(mask.sum()), 1) == pytest.approx(scalar, rel=1e-9, abs=1e-12)


def test_too_much_entropy_makes_likely_tokens_likelier_and_too_little_the_opposite():
    objective = Entropic(target=0.4)
    for entropy, sign in ((0.6, -1), (0.2, 1)):
        logprobs = torch.tensor([[-0.01, -3.0]], requires_grad=True)
        ratio = logprobs - logprobs.detach()
        loss = term(
            objective, observed(objective, [entropy]), logprobs, ratio, torch.tensor([[-1.0]]), torch.ones(1, 2).bool()
        )
        loss.sum().backward()
        assert logprobs.grad[0, 0].sign() == sign  # a step goes against the gradient
        assert logprobs.grad[0, 1] == 0


def test_on_target_there_is_no_term():
    objective = Entropic(target=0.4)
    state = observed(objective, [0.4])
    assert state.alpha == 0.0
    logprobs = torch.tensor([[-0.01, -3.0]], requires_grad=True)
    loss = term(objective, state, logprobs, logprobs - 1.0, torch.tensor([[2.0]]), torch.ones(1, 2).bool())
    assert not loss.any()
    loss.sum().backward()
    assert not logprobs.grad.any()


def test_a_schedule_moves_the_target():
    objective = Entropic(target="linear:0.4:0.2", kp=1.0, ki=0.0)
    state = objective.observe(objective.init(), RolloutSummary(0.5, 0.5))
    assert state.target == pytest.approx(0.3)
    assert state.alpha == pytest.approx(0.2)
    assert objective.signals(state) == {"target": state.target, "alpha": state.alpha}
    assert objective.signals(objective.init()) == {}


def test_a_rollout_without_tokens_leaves_the_weight_and_the_sum():
    objective = Entropic(target=0.4)
    before = observed(objective, [0.7])
    after = objective.observe(before, RolloutSummary(0.5, math.nan))
    assert (after.alpha, after.total) == (before.alpha, before.total)
    with pytest.raises(ValueError, match="needs the rollout's mean entropy"):
        objective.observe(before, RolloutSummary(0.5, None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 0.0}, "target must be over 0 nats"),
        ({"target": "linear:0.4:-0.1"}, "target must be over 0 nats"),
        ({"target": "0.8x"}, "a schedule is"),
        ({"kp": -1.0}, "kp must be at least 0"),
        ({"ki": math.nan}, "ki must be at least 0"),
        ({"threshold": 1.5}, "threshold must be a probability"),
    ],
)
def test_a_bad_option_says_what_to_use(options, message):
    with pytest.raises(ValueError, match=message):
        Entropic(**options)
