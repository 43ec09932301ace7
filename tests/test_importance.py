"""The weighted estimate against the exact entropy: every token that a sampler can draw, and draws of many prompts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entrostat import importance_entropy


def dirichlet(rng, size):
    return rng.dirichlet(np.full(size, 0.7)) + 1e-6


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_over_all_draws_it_is_the_entropy(seed, vocabulary):
    """A batch in which each token stands as often as the sampler would draw it."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, vocabulary)
    q = counts / counts.sum()
    p = dirichlet(rng, vocabulary)
    p /= p.sum()
    tokens = np.repeat(np.arange(vocabulary), counts)
    logp, logq = (torch.tensor(np.log(x[tokens]))[None] for x in (p, q))
    found = importance_entropy(logp, logq, torch.ones_like(logp, dtype=torch.bool), torch.tensor([0]))
    assert found.entropy == pytest.approx(-(p * np.log(p)).sum(), rel=1e-9)
    assert found.error is None


def draws(rng, *, prompts, samples, tokens, vocabulary=6):
    """Tokens of a sampler with states of each prompt's own, and the present policy's mean entropy in those states."""
    entropies, logp, logq = [], [], []
    for _ in range(prompts):
        q = dirichlet(rng, vocabulary)
        p = q * np.exp(rng.normal(0, 0.5, vocabulary))
        q, p = q / q.sum(), p / p.sum()
        entropies.append(-(p * np.log(p)).sum())
        taken = rng.choice(vocabulary, (samples, tokens), p=q)
        logp.append(np.log(p[taken]))
        logq.append(np.log(q[taken]))
    groups = torch.arange(prompts).repeat_interleave(samples)
    return np.mean(entropies), torch.tensor(np.concatenate(logp)), torch.tensor(np.concatenate(logq)), groups


def test_its_error_says_how_far_off_it_is():
    """Of prompts drawn anew each time: about 19 of 20 within two standard errors of the mean over all prompts."""
    rng = np.random.default_rng(0)
    everybody = np.mean([draws(rng, prompts=400, samples=1, tokens=1)[0] for _ in range(40)])
    within = 0
    for _ in range(400):
        _, logp, logq, groups = draws(rng, prompts=24, samples=4, tokens=3)
        found = importance_entropy(logp, logq, torch.ones_like(logp, dtype=torch.bool), groups)
        within += abs(found.entropy - everybody) < 2 * found.error
    # a share of 0.95 has a standard error of 0.011 here; skewed ratios cover a little less
    assert 0.90 < within / 400 < 0.98


def test_without_weights_it_would_be_wrong():
    """The power of the test above: -ln p alone, and the sampler's -ln q, are both off by more than ten errors."""
    rng = np.random.default_rng(1)
    exact, logp, logq, groups = draws(rng, prompts=300, samples=8, tokens=40)
    every = torch.ones_like(logp, dtype=torch.bool)
    found = importance_entropy(logp, logq, every, groups)
    assert found.entropy == pytest.approx(exact, abs=0.01)
    assert float(-logp.mean()) - exact > 0.1
    assert importance_entropy(logq, logq, every, groups).entropy - exact > 0.05


def test_masked_tokens_never_matter():
    rng = np.random.default_rng(2)
    _, logp, logq, groups = draws(rng, prompts=3, samples=2, tokens=4)
    mask = torch.tensor(rng.random(logp.shape) < 0.6)
    plain = importance_entropy(logp, logq, mask, groups)
    for bad in (math.nan, math.inf, -math.inf):
        assert importance_entropy(logp.masked_fill(~mask, bad), logq.masked_fill(~mask, bad), mask, groups) == plain
    nothing = importance_entropy(logp, logq, torch.zeros_like(mask), groups)
    assert math.isnan(nothing.entropy)
    assert nothing.error is None
