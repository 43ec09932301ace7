"""The exact inner products: one forward-mode derivative against a backward pass per region, and against a real step."""

import numpy as np
import pytest
import torch

from entrostat.entropy import Region
from entrostat.lab.config import TrainConfig
from entrostat.lab.load import load_model
from entrostat.reproduce import inner_product
from entrostat.reproduce.inner_product import by, products


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(inner_product, "PROMPTS", 3)
    monkeypatch.setattr(inner_product, "SAMPLES", 4)


def surrogate(model, batch):
    logits = model(input_ids=batch.ids, attention_mask=batch.attention).logits[:, :-1]
    logprobs = logits.log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0]
    return torch.where(batch.mask, logprobs * batch.advantages[:, None], 0.0)


def test_the_products_are_those_of_two_backward_passes_and_of_a_step(small):
    seed = next(s for s in range(9) if np.ptp(products(s).estimate))
    found = products(seed)
    model, tokenizer = load_model(TrainConfig())
    model.eval()
    batch, others = (inner_product._batch(model, tokenizer, "countdown", 2 * seed + i) for i in range(2))
    parameters = list(model.parameters())
    (loss, h) = surrogate(model, batch), inner_product._mean_entropy(model, others)
    slope = torch.autograd.grad(h, parameters)
    for sequence in range(len(batch.ids)):
        gradient = torch.autograd.grad(loss[sequence].sum(), parameters, retain_graph=True)
        exact = sum(float((g.double() * s.double()).sum()) for g, s in zip(gradient, slope, strict=True))
        assert by(found.sequence, found.exact)[sequence] == pytest.approx(exact, rel=1e-3, abs=1e-4)
    # a small step along the surrogate of everything moves the others' entropy by the sum
    whole = torch.autograd.grad(loss.sum(), parameters)
    size = 1e-6
    with torch.no_grad():
        for p, g in zip(parameters, whole, strict=True):
            p += size * g
        up = inner_product._mean_entropy(model.double(), others)
        for p, g in zip(parameters, whole, strict=True):
            p -= 2 * size * g
        down = inner_product._mean_entropy(model, others)
    assert float(up - down) / (2 * size) == pytest.approx(found.exact.sum(), rel=0.02)


def test_the_estimate_has_its_regions_sign_where_the_own_term_rules(small):
    found = products(1)
    assert set(np.unique(found.region)) <= {int(r) for r in Region}
    assert not found.estimate[found.region == 0].any() or (found.region > 0).any()
    assert len(found.exact) == len(found.estimate) == len(found.region) == len(found.sequence)
