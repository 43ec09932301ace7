"""Columns from a trainer's tensors, in every shape that is let in, and what is refused before a file is there."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from entrostat import dump
from entrostat.dump.schema import COLUMNS


def plain(batch, name):
    return [
        [None if isinstance(x, float) and math.isnan(x) else x for x in row] for row in batch.column(name).to_pylist()
    ]


def test_padding_is_cut_off_and_an_untrained_token_keeps_its_place(small):
    batch = dump.rows(**small)
    assert batch.column("tokens").to_pylist() == [[5, 6, 7], [8, 9], [5, 5, 5, 5]]
    assert batch.column("mask").to_pylist() == [[True, False, True], [True, True], [True] * 4]
    assert plain(batch, "advantages") == [[1.0, None, 1.0], [-2.0, -2.0], [0.5] * 4]
    assert plain(batch, "logprobs") == [
        [pytest.approx(-0.1), None, pytest.approx(-0.3)],
        [-1.0, -2.0],
        pytest.approx([-0.5, -0.6, -0.7, -0.8]),
    ]
    assert batch.column("step").to_pylist() == [7, 7, 7]
    assert batch.column("sample").to_pylist() == [0, 1, 2]
    assert batch.schema.types == [COLUMNS[name].type for name in batch.schema.names]


def test_lists_arrays_and_tensors_say_the_same(small):
    lengths = [3, 2, 4]
    ragged = {
        name: [row[:n] for row, n in zip(value.tolist(), lengths, strict=True)] if value.dim() == 2 else value.tolist()
        for name, value in small.items()
        if name != "step"
    }
    ragged["mask"] = [[bool(x) for x in row] for row in ragged["mask"]]
    arrays = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in small.items()}
    as_rows = [
        [torch.tensor(row) for row in value] if name != "advantages" else value for name, value in ragged.items()
    ]
    for columns in (ragged, arrays, dict(zip(ragged, as_rows, strict=True))):
        found = dump.rows(**columns | {"step": 7})
        for name in found.schema.names:
            assert str(found.column(name).to_pylist()) == str(dump.rows(**small).column(name).to_pylist()), name


@pytest.mark.parametrize(
    "low", [0.25, torch.tensor(0.25), torch.full((3,), 0.25), torch.full((3, 1), 0.25), torch.full((3, 4), 0.25)]
)
def test_what_is_the_same_for_many_tokens_is_given_once(small, low):
    assert plain(dump.rows(**small, low=low), "low") == [[0.25, None, 0.25], [0.25] * 2, [0.25] * 4]


def test_as_many_completions_as_tokens_are_not_mixed_up():
    square = {"tokens": torch.ones(2, 2, dtype=torch.long), "logprobs": torch.zeros(2, 2)}
    batch = dump.rows(**square, advantages=torch.tensor([1.0, 2.0]), low=torch.tensor([[0.1], [0.3]]))
    assert batch.column("advantages").to_pylist() == [[1.0, 1.0], [2.0, 2.0]]
    assert batch.column("low").to_pylist() == [pytest.approx([0.1, 0.1]), pytest.approx([0.3, 0.3])]
    given = dump.rows(**square, advantages=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert given.column("advantages").to_pylist() == [[1.0, 2.0], [3.0, 4.0]]


def test_half_precision_is_widened_and_gradients_are_left_behind(small):
    small["logprobs"] = torch.full((3, 4), -0.5, dtype=torch.bfloat16, requires_grad=True)
    assert dump.rows(**small).column("logprobs").to_pylist()[1] == [-0.5, -0.5]


def test_text_is_given_or_decoded_token_by_token(small):
    decoded = dump.rows(**small, decode=lambda ids: f"<{ids[0]}>" if len(ids) == 1 else "?")
    assert decoded.column("text").to_pylist()[:2] == [["<5>", "<6>", "<7>"], ["<8>", "<9>"]]
    given = dump.rows(**small, text=[["a", "b", "c"], ["d", ""], ["e", "f", "g", "h"]], prompt=["x", "y", "z"])
    assert given.column("text").to_pylist()[1] == ["d", ""]
    assert given.column("prompt").to_pylist() == ["x", "y", "z"]


def test_a_reward_of_nan_is_none(small):
    batch = dump.rows(**small, reward=torch.tensor([1.0, math.nan, 0.0]))
    assert batch.column("reward").to_pylist() == [1.0, None, 0.0]


def test_a_completion_without_a_trained_token_keeps_its_row(small):
    small["mask"] = small["mask"] * torch.tensor([[1], [0], [1]])
    batch = dump.rows(**small)
    assert batch.column("tokens").to_pylist() == [[5, 6, 7], [], [5, 5, 5, 5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprob": 1.0}, "a dump has no column 'logprob': it has step, sample"),
        ({"logprobs": None}, "a dump needs 'logprobs': give it, one entry a token"),
        ({"tokens": torch.ones(4)}, r"tokens must be \(b t\) or b lists, got shape \(4,\)"),
        ({"mask": torch.ones(3, 3)}, r"mask must have the shape of tokens \(3, 4\), got shape \(3, 3\)"),
        ({"entropy": torch.ones(4, 3)}, r"entropy must be \(b t\) = \(3, 4\), or one value a completion, got shape"),
        ({"entropy": [[1.0], [1.0, 1.0], [1.0]]}, r"entropy must be \(b t\) = \(3, 4\).*got 3 lists"),
        ({"entropy": torch.tensor([0.1, math.nan, 0.2])}, "row 1, column 'entropy': nan at trained position 0"),
        ({"entropy": math.inf}, "row 0, column 'entropy': inf at trained position 0"),
        ({"high": math.nan}, "row 0, column 'high': nan at trained position 0"),
        ({"entropy": np.array([["a"] * 4] * 3)}, "entropy must be numbers, got <U1"),
        ({"tokens": torch.full((3, 4), 2**31)}, "tokens: Integer value 2147483648 not in range"),
        ({"tokens": torch.full((3, 4), 0.5)}, "tokens must be integers, got float32"),
        ({"group": [0, 1]}, "group must have one entry a completion, 3, got 2"),
        ({"prompt": ["a", 2, "c"]}, "prompt must be strings: "),
        ({"prompt": ["a", "b"]}, "prompt must have one entry a completion, 3, got 2"),
        ({"prompt": ["a", None, "b"]}, "row 1, column 'prompt': null"),
        ({"text": [["a"], ["b"], ["c"]]}, "text must be 3 lists of strings, one a token of the completion"),
        ({"reward": [1.0, 2.0, math.inf]}, "row 2, column 'reward': inf"),
    ],
)
def test_what_does_not_fit_is_one_line(small, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        dump.write(tmp_path / "a.parquet", **(small | changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_file_is_overwritten_without_a_word(written, small):
    path = written()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a\.parquet exists: choose another name, or pass overwrite=True"):
        written()
    assert path.read_bytes() == before
    dump.write(path, **(small | {"step": 8}), overwrite=True)
    assert next(dump.read(path)).column("step").to_pylist() == [8, 8, 8]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(written, small, monkeypatch):
    path = written()
    before = path.read_bytes()

    def full(table, file, **_):
        file.write(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        dump.write(path, **small, overwrite=True)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["a.parquet"]


def test_parts_of_a_rollout_are_one_file(tmp_path, small):
    parts = [dump.rows(**small, update=i) for i in (0, 1)]
    dump.save(tmp_path / "a.parquet", parts, notes={"loss_type": "grpo"})
    (batch,) = dump.read(tmp_path / "a.parquet")
    assert batch.column("update").to_pylist() == [0, 0, 0, 1, 1, 1]
    assert dump.notes(tmp_path / "a.parquet") == {"loss_type": "grpo"}
    with pytest.raises(ValueError, match="parts have columns"):
        dump.save(tmp_path / "b.parquet", [parts[0], dump.rows(**small)])
    with pytest.raises(ValueError, match="no rows to write"):
        dump.save(tmp_path / "b.parquet", [])


def test_row_groups_are_bounded_in_tokens(tmp_path):
    n = 1000
    ids = np.zeros((n, 1000), dtype=np.int64)
    dump.write(tmp_path / "a.parquet", tokens=ids, logprobs=-1.0, advantages=1.0)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.num_row_groups == 4
    batches = list(dump.read(tmp_path / "a.parquet"))
    assert sum(batch.num_rows for batch in batches) == n
    assert max(len(batch.column("tokens").flatten()) for batch in batches) <= 2**18


def test_any_parquet_reader_can_read_it(written):
    table = pq.read_table(written(entropy=0.5))
    assert table.schema.field("entropy").type == pa.list_(pa.float32())
    assert table.column("tokens").to_pylist() == [[5, 6, 7], [8, 9], [5, 5, 5, 5]]
