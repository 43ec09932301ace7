"""Sums from hidden states and the LM head, against the whole logits in float64."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from entrostat.engines.lm_head import HeadSums

B, PROMPT, T, D, V = 2, 3, 1500, 8, 997
TEMPERATURE = 0.7


class Largest(TorchDispatchMode):
    """The most elements that any tensor has had."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.elements = max(self.elements, out.numel())
        return out


def rollout(bias):
    """A head, its hidden states over prompt and completion, the completion's tokens, and their whole logits."""
    g = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(V, D, generator=g))
    head = SimpleNamespace(weight=weight, bias=torch.randn(V, generator=g) if bias else None)
    states = torch.randn(B, PROMPT + T, D, generator=g)
    ids = torch.randint(V, (B, T), generator=g)
    logits = states[:, PROMPT - 1 : -1].double() @ weight.detach().double().T + (head.bias if bias else 0.0)
    return head, states, ids, logits / TEMPERATURE


def expected(logits, ids):
    """The four statistics of every token, (b t) in float64."""
    logp = logits.log_softmax(-1)
    p = logp.exp()
    own = logp.gather(-1, ids[..., None])[..., 0]
    return own, -(p * logp).sum(-1), p.square().sum(-1), (p.square() * logp).sum(-1)


def sums_of(head, states, ids, logits):
    logprobs = expected(logits, ids)[0].float().to(ids.device)
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        at = HeadSums().at_tokens(head, states, ids, logprobs, mask, TEMPERATURE)
    assert at is not None
    return at


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 511, 512, 513, 2900])
def test_the_sums_are_those_of_the_whole_logits_and_few_logits_are_held_at_once(bias, tokens):
    head, states, ids, logits = rollout(bias)
    at = sums_of(head, states, ids, logits)
    flat = torch.randperm(B * T, generator=torch.Generator().manual_seed(1))[:tokens]
    with torch.no_grad(), Largest() as largest:
        found = at(flat)
    for mine, theirs in zip(found, expected(logits, ids), strict=True):
        assert mine.shape == (1, tokens)
        torch.testing.assert_close(mine[0].double(), theirs.reshape(-1)[flat], rtol=1e-5, atol=1e-6)
    assert largest.elements <= 2 * 512 * V  # the two buffers of token_stats


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_states_on_another_device_than_the_head():
    """As where device_map splits a model whose head is tied to its embedding."""
    head, states, ids, logits = rollout(bias=True)
    there = SimpleNamespace(weight=torch.nn.Parameter(head.weight.detach().cuda()), bias=head.bias.cuda())
    at = sums_of(there, states, ids.cuda(), logits)
    flat = torch.arange(0, B * T, 3, device="cuda")
    with torch.no_grad():
        found = at(flat)
    for mine, theirs in zip(found, expected(logits, ids), strict=True):
        assert mine.device == flat.device
        torch.testing.assert_close(mine[0].cpu().double(), theirs.reshape(-1)[flat.cpu()], rtol=1e-4, atol=1e-5)
