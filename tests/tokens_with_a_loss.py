"""N made-up tokens, and what the trainer's clipped loss with an objective's term makes of each."""

import random

import pytest
import torch

from entrostat import TokenStats, clip_loss
from entrostat.objectives import LossInputs

N = 12


def drawn(seed):
    """ln p, ln r, A and mask of N tokens; without ties, which would leave it open which token is largest."""
    rng = random.Random(seed)
    make = lambda low, high: [rng.uniform(low, high) for _ in range(N)]  # noqa: E731
    return make(-4.0, -0.01), make(-1.5, 1.5), make(-3.0, 3.0), [rng.random() < 0.7 for _ in range(N)]


def totals(objective, state, logprobs, logratio, advantages, mask):
    """(loss, gradient) of each trained token under the trainer's clipped loss and the objective's term."""
    shaped = lambda values: torch.tensor(values, dtype=torch.float64).view(3, 4)  # noqa: E731
    now, keep = shaped(logprobs).requires_grad_(), torch.tensor(mask).view(3, 4)
    old = now.detach() - shaped(logratio)
    base = clip_loss(now - old, shaped(advantages), low=objective.low, high=objective.high)
    inputs = LossInputs(
        logprobs=now, logratio=now - old, advantages=shaped(advantages), old=TokenStats(old),
        entropy=torch.zeros(3, 4, dtype=torch.float64), mask=keep,
    )  # fmt: skip
    loss = torch.where(keep, base + objective.correction(state, inputs), 0.0)
    (gradient,) = torch.autograd.grad(loss.sum(), now)
    return list(zip(loss[keep].tolist(), gradient[keep].tolist(), strict=True))


def trained(*lists, mask):
    return [[x for x, m in zip(values, mask, strict=True) if m] for values in lists]


def close(found, wanted):
    assert len(found) == len(wanted)
    for (loss, gradient), (want_loss, want_gradient) in zip(found, wanted, strict=True):
        assert loss == pytest.approx(want_loss, rel=1e-9, abs=1e-9)
        assert gradient == pytest.approx(want_gradient, rel=1e-9, abs=1e-9)
