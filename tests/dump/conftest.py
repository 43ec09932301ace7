"""A small dump, made by hand."""

import pytest
import torch

from entrostat import dump

NAN = float("nan")
SMALL = {
    "step": 7,
    "tokens": torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0], [5, 5, 5, 5]]),
    "mask": torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]),
    "advantages": torch.tensor([1.0, -2.0, 0.5]),
    "logprobs": torch.tensor([[-0.1, NAN, -0.3, 9.0], [-1.0, -2.0, NAN, NAN], [-0.5, -0.6, -0.7, -0.8]]),
}


@pytest.fixture
def small():
    """Columns of three completions of 3, 2 and 4 tokens, one of them not trained on."""
    return dict(SMALL)


@pytest.fixture
def written(tmp_path):
    """Writes a dump of these columns over those of `small`; its path."""

    def write(name="a.parquet", **columns):
        dump.write(tmp_path / name, **(SMALL | columns))
        return tmp_path / name

    return write


@pytest.fixture
def whole():
    """All rows of a dump, as dicts."""
    return lambda path: [row for batch in dump.read(path) for row in batch.to_pylist()]
