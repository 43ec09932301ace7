"""The tabular engine against autograd of the library's own loss, the full Fisher matrix, and finite differences."""

import math

import pytest
import torch

import reference
from entrostat.clip import clip_loss
from entrostat.reproduce.tabular import (
    Advantage,
    entropy,
    exact_push,
    natural_gradient,
    outside,
    policy_gradient,
    random_policy,
    sampled_push,
    updated,
)

STATES, ACTIONS = 3, 5
WINDOWS = [(0.2, 0.2), (0.2, math.inf), (1.0, 0.1), (-0.05, 0.2), (1.0, math.inf)]
BY_TOKEN = torch.linspace(0.1, 0.4, STATES * ACTIONS, dtype=torch.float64).reshape(STATES, ACTIONS)
LAWS = {
    "random": Advantage(0.5, 1.0, 0.5, 1.0),
    "some are zero": Advantage(0.3, 2.0, 0.3, 2.0),
    "skewed": Advantage(0.25, 1.5, 0.75, 0.5),
    "by token": Advantage(BY_TOKEN, 2.0, 0.5, 1 + BY_TOKEN),
}


def policy(moved=0.4, seed=0):
    return random_policy(STATES, ACTIONS, torch.Generator().manual_seed(seed), moved=moved)


def surrogate(at, logits, law, low, high):
    """Every token with every advantage, weighted by its probability: states as sequences, actions as tokens."""
    p_up, up, p_down, down = (torch.as_tensor(part, dtype=torch.float64).expand(STATES, ACTIONS) for part in law)
    logratio = logits.log_softmax(-1) - at.old_logprobs
    total = torch.zeros((), dtype=torch.float64)
    for probability, value in ((p_up, up), (p_down, -down)):
        each = clip_loss(logratio, value, low=low, high=high)
        total = total - (at.weights[:, None] * at.old_logprobs.exp() * probability * each).sum()
    return total


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(("low", "high"), WINDOWS)
def test_the_gradient_is_autograds_of_the_loss_over_all_tokens(law, low, high):
    at = policy()
    logits = at.logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(surrogate(at, logits, law, low, high), logits)
    found = policy_gradient(exact_push(at, law, low=low, high=high), at.logits.log_softmax(-1), at.weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_natural_gradient_is_the_fishers_pseudo_inverse_times_the_gradient():
    at, law = policy(), LAWS["by token"]
    logprobs = at.logits.log_softmax(-1)
    push = exact_push(at, law, low=0.2, high=0.2)
    fisher = torch.zeros(STATES * ACTIONS, STATES * ACTIONS, dtype=torch.float64)
    for s in range(STATES):
        for a in range(ACTIONS):
            score = torch.zeros(STATES, ACTIONS, dtype=torch.float64)
            score[s, a] = 1.0
            score[s] -= logprobs[s].exp()
            fisher += at.weights[s] * logprobs[s, a].exp() * torch.outer(score.flatten(), score.flatten())
    gradient = policy_gradient(push, logprobs, at.weights)
    expected = (torch.linalg.pinv(fisher, rtol=1e-10) @ gradient.flatten()).reshape(STATES, ACTIONS)
    torch.testing.assert_close(natural_gradient(push, logprobs, at.weights), expected, rtol=1e-9, atol=1e-12)


def test_entropy_is_the_references():
    at = policy()
    expected = [reference.stats(row, 0)[1] for row in at.logits.tolist()]
    torch.testing.assert_close(entropy(at.logits), torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0)


@pytest.mark.parametrize("direction", [policy_gradient, natural_gradient])
def test_the_entropy_change_of_a_step_is_its_finite_difference(direction):
    at, law = policy(), LAWS["by token"]
    logits = at.logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(entropy(logits).sum(), logits)
    step = direction(exact_push(at, law, low=0.2, high=0.2), at.logits.log_softmax(-1), at.weights)
    eta = 1e-4
    ahead, behind = (
        entropy(updated(at, law, low=0.2, high=0.2, eta=e, direction=direction).logits) for e in (eta, -eta)
    )
    torch.testing.assert_close((ahead - behind) / (2 * eta), (slope * step).sum(-1), rtol=1e-6, atol=1e-11)


def test_x_and_y_are_the_ratio_parts_alone():
    logratio = torch.tensor([[0.7, 0.8, 1.0, 1.2, 1.3]], dtype=torch.float64).log()
    x, y = outside(logratio, 0.25, 0.25)
    assert x.tolist() == [[1, 0, 0, 0, 0]]
    assert y.tolist() == [[0, 0, 0, 0, 1]]
    assert not any(side.any() for side in outside(logratio, 1.0, math.inf))


def test_a_fresh_policy_does_not_move_under_random_advantages():
    at = policy(moved=0.0)
    assert not exact_push(at, LAWS["random"], low=0.2, high=0.2).any()
    assert exact_push(at, LAWS["by token"], low=0.2, high=0.2).any()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_sampled_pushes_are_unbiased(law):
    at = policy()
    drawn = sampled_push(
        at, law, low=0.2, high=0.2, batches=2000, tokens=50, generator=torch.Generator().manual_seed(1)
    )
    error = drawn.mean(0) - exact_push(at, law, low=0.2, high=0.2)
    standard = drawn.std(0) / math.sqrt(len(drawn))
    assert (error.abs() < 4 * standard).all()
    # the bias of a missed clip or a swapped side would be seen
    for low, high in ((1.0, 0.2), (0.2, math.inf)):
        assert ((drawn.mean(0) - exact_push(at, law, low=low, high=high)).abs() > 8 * standard).any()


def test_the_same_generator_draws_the_same_batches():
    one, two = (
        sampled_push(
            policy(), LAWS["random"], low=0.2, high=0.2, batches=2, tokens=9,
            generator=torch.Generator().manual_seed(3),
        )
        for _ in range(2)
    )  # fmt: skip
    assert torch.equal(one, two)
