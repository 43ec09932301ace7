"""A tabular softmax policy whose updates and entropy are exact.

They are sums over all states and actions, in float64, without sampling.

Notation: s states, a actions, n independent batches. A state has the weight d, its share
of the tokens; its actions are drawn from pi_old. With r = pi / pi_old, the surrogate of
arXiv 2509.26114 is

    sum_s d sum_a pi_old E_A[min(r A, clip(r, 1 - low, 1 + high) A)]

Its gradient needs no autograd. Let X be r < 1 - low and Y be r > 1 + high: the ratio
alone, whatever the sign of A.

    push_sa = d pi (E[max(A, 0)] 1[not Y] - E[max(-A, 0)] 1[not X])    at log pi(a|s)
    gradient_sa = push_sa - pi_sa sum_x push_sx                        at the logits

So an advantage acts, in expectation, through E[max(A, 0)] and E[max(-A, 0)] alone.
Logits and old log-probabilities are finite, weights are positive.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from entrostat.clip import Bound, clip_events

ByState = Float[Tensor, " s"]
ByAction = Float[Tensor, "s a"]
Batches = Float[Tensor, "*n s a"]
"""One `ByAction` per batch, or a single one without the batch dimension."""
Number = float | ByAction


class Advantage(NamedTuple):
    """The law of A: `up` with probability p_up, -`down` with p_down, else 0.

    up and down are at least 0. Each is one number, or (s a): then A depends on prompt
    and response.
    """

    p_up: Number
    up: Number
    p_down: Number
    down: Number


class Policy(NamedTuple):
    """A policy under training, all float64.

    old_logprobs is log pi_old in nats; the weights of the states sum to 1.
    """

    logits: ByAction
    old_logprobs: ByAction
    weights: ByState


Direction = Callable[[Batches, ByAction, ByState], Batches]
"""(push, log-probabilities, state weights) -> the step in the logits."""


def random_policy(
    states: int, actions: int, generator: torch.Generator, *, moved: float
) -> Policy:
    """Logits of pi_old from N(0, 1.5^2), moved by N(0, moved^2).

    The states' weights differ by up to a factor of 3.
    """
    shape = states, actions
    old = torch.randn(shape, generator=generator, dtype=torch.float64) * 1.5
    move = torch.randn(shape, generator=generator, dtype=torch.float64) * moved
    weights = torch.rand(states, generator=generator, dtype=torch.float64) + 0.5
    return Policy(old + move, old.log_softmax(-1), weights / weights.sum())


def entropy(logits: Batches) -> Float[Tensor, "*n s"]:
    """H of each state in nats."""
    logprobs = logits.log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def outside(logratio: ByAction, low: Bound, high: Bound) -> tuple[ByAction, ByAction]:
    """X and Y, the ratio parts of the clip events, as 0 and 1.

    X is where `clip_events` has an event at A < 0, Y is where it has one at A > 0.
    """
    one = torch.ones_like(logratio)
    low_side = clip_events(logratio, -one, low=low, high=high).low
    high_side = clip_events(logratio, one, low=low, high=high).high
    return low_side.to(logratio.dtype), high_side.to(logratio.dtype)


def exact_push(
    policy: Policy, advantage: Advantage, *, low: Bound, high: Bound
) -> ByAction:
    """The gradient of the surrogate at log pi(a|s), in expectation over tokens and
    advantages.
    """
    logprobs = policy.logits.log_softmax(-1)
    x, y = outside(logprobs - policy.old_logprobs, low, high)
    kept_up = advantage.p_up * advantage.up * (1 - y)
    kept_down = advantage.p_down * advantage.down * (1 - x)
    return policy.weights[:, None] * logprobs.exp() * (kept_up - kept_down)


def sampled_push(
    policy: Policy,
    advantage: Advantage,
    *,
    low: Bound,
    high: Bound,
    batches: int,
    tokens: int,
    generator: torch.Generator,
) -> Batches:
    """`exact_push` estimated from each of `batches` batches of tokens; unbiased.

    Tokens are drawn by d and pi_old.
    """
    logratio = policy.logits.log_softmax(-1) - policy.old_logprobs
    joint = (policy.weights[:, None] * policy.old_logprobs.exp()).flatten()
    count = batches * tokens
    drawn = torch.multinomial(joint, count, replacement=True, generator=generator)

    def of_drawn(values: float | Tensor) -> Tensor:
        whole = torch.as_tensor(values, dtype=torch.float64).expand(logratio.shape)
        return whole.flatten()[drawn]

    p_up, up, p_down, down = map(of_drawn, advantage)
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    advantages = torch.where(u < p_up, up, torch.where(u >= 1 - p_down, -down, 0.0))
    x, y = map(of_drawn, outside(logratio, low, high))
    clipped = ((x > 0) & (advantages < 0)) | ((y > 0) & (advantages > 0))
    push = torch.where(clipped, 0.0, advantages * of_drawn(logratio.exp())) / tokens
    # tokens of one action add up within their batch
    totals = torch.zeros(batches, logratio.numel(), dtype=torch.float64)
    totals.scatter_add_(1, drawn.view(batches, -1), push.view(batches, -1))
    return totals.unflatten(1, logratio.shape)


def policy_gradient(
    push: Batches,
    logprobs: ByAction,
    weights: ByState,
) -> Batches:
    """The gradient in the logits."""
    return push - logprobs.exp() * push.sum(-1, keepdim=True)


def natural_gradient(
    push: Batches,
    logprobs: ByAction,
    weights: ByState,
) -> Batches:
    """The gradient times the pseudo-inverse of the Fisher matrix.

    The matrix has the blocks d (diag(pi) - pi pi^T), one per state.
    """
    step = push / (weights[:, None] * logprobs.exp())
    return step - step.mean(-1, keepdim=True)


def updated(
    policy: Policy,
    advantage: Advantage,
    *,
    low: Bound,
    high: Bound,
    eta: float,
    direction: Direction = policy_gradient,
) -> Policy:
    """The policy after one exact full-batch step of size eta; pi_old stays."""
    push = exact_push(policy, advantage, low=low, high=high)
    step = direction(push, policy.logits.log_softmax(-1), policy.weights)
    return policy._replace(logits=policy.logits + eta * step)
