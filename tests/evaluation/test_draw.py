"""The draw against transformers' own warpers: the same tokens are possible, with the same probabilities."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from entrostat.evaluation.draw import draw
from entrostat.evaluation.presets import PRESETS, Sampling

LOGITS = 3 * torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
GRID = 20_000


def warped(logits, sampling):
    logits = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    if sampling.top_k:
        logits = TopKLogitsWarper(sampling.top_k)(None, logits)
    if sampling.top_p < 1:
        logits = TopPLogitsWarper(sampling.top_p)(None, logits)
    return logits.softmax(-1)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0, top_k=5),
        Sampling(top_k=1),
        Sampling(top_p=0.9),
        Sampling(top_p=0.01),
        Sampling(temperature=3.0, top_k=50, top_p=0.6),
        Sampling(temperature=2.0, top_k=4, top_p=0.8),
        PRESETS["2602.09782"],
    ],
)
def test_probabilities_are_those_of_transformers(sampling):
    expected = warped(LOGITS, sampling)
    uniform = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    for row, wanted in zip(LOGITS, expected, strict=True):
        tokens = draw(row.expand(GRID, -1), uniform, sampling)
        share = torch.bincount(tokens, minlength=len(row)) / GRID
        assert (share - wanted).abs().max() <= 1.01 / GRID
        assert not share[wanted == 0].any()


def test_a_token_of_no_probability_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    for u in (0.0, 0.2, 0.5, 1 - 2**-53):
        token = draw(logits, torch.tensor([u], dtype=torch.float64), Sampling())
        assert token.item() in (1, 3)


@given(st.integers(0, 2**31 - 1), st.integers(1, 40))
def test_rows_do_not_know_of_each_other(seed, rows):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 9, generator=generator)
    uniform = torch.rand(rows, generator=generator, dtype=torch.float64)
    sampling = Sampling(temperature=0.7, top_p=0.8, top_k=6)
    alone = [draw(logits[i : i + 1], uniform[i : i + 1], sampling).item() for i in range(rows)]
    assert draw(logits, uniform, sampling).tolist() == alone


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"top_p": 0.0}, "--top-p"),
        ({"top_p": 1.1}, "--top-p"),
        ({"top_k": -1}, "--top-k"),
    ],
)
def test_settings_that_are_none(settings, said):
    with pytest.raises(ValueError, match=said):
        Sampling(**settings)
