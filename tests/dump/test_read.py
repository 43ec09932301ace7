"""What was written comes back; what is damaged or is no dump is one line that names file, row and column."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from entrostat import clip_events, dump
from entrostat.dump.check import SIGNS
from entrostat.dump.schema import COLUMNS, KEY, metadata


def full(b, rng):
    """Every column there is, at random, with ragged lengths."""
    lengths = rng.integers(0, 9, b)
    lists = lambda draw: [draw(n) for n in lengths]  # noqa: E731
    floats = lambda: lists(lambda n: rng.normal(size=n).astype(np.float32))  # noqa: E731
    columns = {name: floats() for name, c in COLUMNS.items() if c.type == pa.list_(pa.float32())}
    for name, (sign, _) in SIGNS.items():
        columns[name] = [-sign * np.abs(row) for row in columns[name]]
    return columns | {
        "step": 3,
        "sample": rng.permutation(b),
        "group": np.arange(b) // 4,
        "update": 2,
        "reward": rng.normal(size=b),
        "prompt": [f"p{i}" for i in range(b)],
        "tokens": lists(lambda n: rng.integers(0, 2**31 - 1, n)),
        "text": lists(lambda n: [chr(33 + int(x)) for x in rng.integers(0, 90, n)]),
        "mask": lists(lambda n: np.ones(n, bool)),
        "clipped": lists(lambda n: rng.integers(-1, 2, n)),
    }


def test_all_columns_come_back_as_they_were(tmp_path):
    columns = full(50, np.random.default_rng(0))
    dump.write(tmp_path / "a.parquet", **columns)
    table = pa.Table.from_batches(list(dump.read(tmp_path / "a.parquet")))
    assert table.schema.names == list(COLUMNS)
    for name, value in columns.items():
        found = table.column(name).to_pylist()
        for i in range(50):
            want = value if isinstance(value, int) else value[i]
            if isinstance(found[i], list):
                assert found[i] == list(want), name
            else:
                assert found[i] == (pytest.approx(want) if name == "reward" else want), name


def test_a_file_a_folder_and_a_runs_folder(whole, tmp_path, written, small):
    (tmp_path / "run" / "dump").mkdir(parents=True)
    for step in (2, 10, 1_000_000):
        dump.write(tmp_path / "run" / "dump" / dump.file_name(step), **(small | {"step": step}))
    for path in (tmp_path / "run", tmp_path / "run" / "dump", str(tmp_path / "run")):
        assert [row["step"] for row in whole(path)] == [2] * 3 + [10] * 3 + [1_000_000] * 3
    assert [row["step"] for row in whole(written())] == [7] * 3


def test_only_the_wanted_columns_are_read(written):
    path = written(entropy=0.5)
    (batch,) = dump.read(path, ["entropy", "sum_p2"])
    assert batch.schema.names == ["step", "sample", "mask", "entropy"]
    with pytest.raises(ValueError, match="a dump has no column 'entropi': it has"):
        next(dump.read(path, ["entropi"]))


def damaged(path, change):
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data)))
    return path


def flipped(data):
    """A bit in the first column's first page, well before the footer."""
    data[40] ^= 1
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "no whole Parquet file"),
        (lambda data: data[:-1], "no whole Parquet file"),
        (lambda data: data[: len(data) // 2], "no whole Parquet file"),
        (lambda data: b"step,sample\n1,2\n", "no whole Parquet file"),
        (lambda data: data[:4] + data[-400:], ""),
        (flipped, "rows from 0: damaged"),
    ],
)
def test_a_damaged_file_is_one_line(whole, written, change, message):
    path = damaged(written(), change)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ".*" + message) as caught:
        whole(path)
    assert "\n" not in str(caught.value)


def altered(path, make, noted=None):
    table = make(pq.read_table(path))
    pq.write_table(table.replace_schema_metadata(noted or table.schema.metadata), path)
    return path


def put(table, name, values, kind=None):
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, pa.array(values, kind or COLUMNS[name].type))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.drop(["logprobs"]), "column 'logprobs' is missing: every dump needs it"),
        (
            lambda t: put(t, "logprobs", [["a"]] * 3, pa.list_(pa.string())),
            "column 'logprobs' is list<.*string>, it must",
        ),
        (lambda t: put(t, "logprobs", [1.0] * 3, pa.float32()), "column 'logprobs' is float, it must be list"),
        (lambda t: put(t, "step", [1.5] * 3, pa.float64()), "column 'step' is double, it must be int64"),
        (lambda t: put(t, "mask", [[1]] * 3, pa.list_(pa.int8())), "column 'mask' is list<.*int8>, it must be list"),
        (lambda t: put(t, "logprobs", [[0.0] * 3, None, [0.0] * 4]), "row 1, column 'logprobs': null"),
        (
            lambda t: put(t, "logprobs", [[0.0] * 3, [0.0, None], [0.0] * 4]),
            "row 1, column 'logprobs': null at position 1",
        ),
        (
            lambda t: put(t, "logprobs", [[0.0] * 3, [0.0], [0.0] * 4]),
            "row 1, column 'logprobs': 1 entries, but mask has 2",
        ),
        (
            lambda t: put(t, "logprobs", [[0.0] * 3, [0.0, math.nan], [0.0] * 4]),
            "row 1, column 'logprobs': nan at trained position 1",
        ),
        (
            lambda t: put(t, "logprobs", [[0.0] * 3, [0.0] * 2, [0.0, 0.0, -math.inf, 0.0]]),
            "row 2, column 'logprobs': -inf at trained position 2",
        ),
        (
            lambda t: put(t, "logprobs", [[0.0] * 3, [0.0] * 2, [1e300] * 4], pa.list_(pa.float64())),
            "row 2, column 'logprobs': inf at trained position 0",
        ),
        (
            lambda t: put(t, "tokens", [[1] * 3, [2**40] * 2, [1] * 4], pa.list_(pa.int64())),
            "rows from 0, column 'tokens': Integer value 1099511627776 not in range",
        ),
        (lambda t: t.slice(0, 0), "no rows in it"),
        (lambda t: t.append_column("reward", pa.array([0.0, math.nan, 1.0])), "row 1, column 'reward': nan"),
    ],
)
def test_a_wrong_value_is_named_by_file_row_and_column(whole, written, make, message):
    path = altered(written(), make)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ": " + message) as caught:
        whole(path)
    assert "\n" not in str(caught.value)


def test_the_row_is_counted_over_batches_and_row_groups(tmp_path):
    values = [[0.0] * 2**17 for _ in range(5)]
    values[4][17] = math.nan
    table = pa.table(
        {
            "step": [0] * 5,
            "sample": range(5),
            "tokens": pa.array([[1] * 2**17] * 5, pa.list_(pa.int32())),
            "mask": [[True] * 2**17] * 5,
            "advantages": pa.array(values, pa.list_(pa.float32())),
            "logprobs": pa.array([[0.0] * 2**17] * 5, pa.list_(pa.float32())),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table.replace_schema_metadata(metadata({})), path, row_group_size=3)
    rows = dump.read(path)
    assert next(rows).num_rows == 2  # a batch is 2^18 tokens
    with pytest.raises(ValueError, match="row 4, column 'advantages': nan at trained position 17"):
        list(rows)


@pytest.mark.parametrize(
    ("noted", "message"),
    [
        ({KEY: b"{"}, "metadata is damaged"),
        ({KEY: b"[1]"}, "metadata is damaged"),
        ({KEY: b"[" * 100_000}, "metadata is damaged"),
        ({KEY: json.dumps({"version": 2, "notes": {}}).encode()}, "dump version 2, this entrostat reads version 1"),
    ],
)
def test_another_format_or_version_is_refused(whole, written, noted, message):
    path = altered(written(), lambda table: table, noted)
    for look in (whole, dump.notes):
        with pytest.raises(ValueError, match=re.escape(str(path)) + ".*" + message) as caught:
            look(path)
        assert "\n" not in str(caught.value)


def as_polars(table):
    """The types that polars writes: everything large, no metadata."""
    large = {pa.string(): pa.large_string()}
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_list(kind):
            kind = pa.large_list(large.get(kind.value_type, kind.value_type))
        fields.append(pa.field(field.name, large.get(kind, kind)))
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)


def as_pandas(table):
    """With an index column and pandas' own metadata, as after a sort_values."""
    index = pa.array(range(table.num_rows)[::-1], pa.int64())
    return table.append_column("__index_level_0__", index).replace_schema_metadata({b"pandas": b"{}"})


def as_duckdb(table):
    return table.replace_schema_metadata(None)


@pytest.mark.parametrize("rewrite", [as_polars, as_pandas, as_duckdb])
def test_a_dump_that_another_program_has_rewritten_is_read(written, tmp_path, rewrite):
    """Compared with what polars 2.1, pandas 3.1 and duckdb 2.0 wrote of docs/examples/grpo."""
    path = written()
    want = pa.Table.from_batches(list(dump.read(path)))
    again = tmp_path / "again.parquet"
    pq.write_table(rewrite(pq.read_table(path)), again)
    got = pa.Table.from_batches(list(dump.read(again)))
    # NaN where a token is not trained on is equal to itself here
    assert got.to_pydict().keys() == want.to_pydict().keys()
    assert repr(got.to_pydict()) == repr(want.to_pydict())
    assert dump.notes(again) == {}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("logprobs", 0.5, "the logarithm of a probability is at most 0"),
        ("old_logprobs", 0.5, "the logarithm of a probability is at most 0"),
        ("entropy", -0.5, "an entropy is at least 0"),
    ],
)
def test_a_number_of_the_wrong_sign_is_refused_with_its_row(tmp_path, name, value, said):
    fine = {"logprobs": -1.0, "old_logprobs": -1.0, "entropy": 0.5}
    columns = {key: [[x, x]] for key, x in (fine | {name: value}).items()}
    with pytest.raises(ValueError, match=f"row 0, column '{name}': {value} at trained position 0: {said}"):
        dump.write(tmp_path / "x.parquet", step=0, tokens=[[1, 2]], mask=[[1, 1]], advantages=[1.0], **columns)


def test_a_folder_without_dumps_and_a_path_without_anything(whole, tmp_path):
    with pytest.raises(ValueError, match="no dump in it"):
        whole(tmp_path)
    with pytest.raises(ValueError, match="there is no such file or folder"):
        whole(tmp_path / "none")


def test_other_writers_types_are_taken(written):
    """As Polars and DuckDB write them: wide numbers, large lists, strings as categories; a column of their own too."""

    def wider(table):
        for name, kind in (
            ("tokens", pa.large_list(pa.int64())),
            ("logprobs", pa.large_list(pa.float64())),
            ("mask", pa.large_list(pa.bool_())),
            ("step", pa.int16()),
        ):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(name).cast(kind))
        words = pa.array(["a", "b", "a"]).dictionary_encode()
        return table.append_column("prompt", words).append_column("mine", pa.array([1, 2, 3]))

    path = written()
    before = next(dump.read(path))
    (after,) = dump.read(altered(path, wider))
    for name in before.schema.names:
        assert after.column(name).type == COLUMNS[name].type
        assert str(after.column(name)) == str(before.column(name))
    assert after.column("prompt").to_pylist() == ["a", "b", "a"]
    assert "mine" not in after.schema.names


def test_tokens_are_flat_and_what_a_completion_has_is_repeated(small, written):
    (batch,) = dump.read(written(reward=[1.0, math.nan, 3.0], group=[4, 4, 5], text=None))
    flat = dump.per_token(batch)
    assert flat["row"].tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert flat["position"].tolist() == [0, 2, 0, 1, 0, 1, 2, 3]
    assert flat["tokens"].tolist() == [5, 7, 8, 9, 5, 5, 5, 5]
    assert flat["group"].tolist() == [4] * 4 + [5] * 4
    assert str(flat["reward"].tolist()) == "[1.0, 1.0, nan, nan, 3.0, 3.0, 3.0, 3.0]"
    assert flat["logprobs"].tolist() == pytest.approx([-0.1, -0.3, -1.0, -2.0, -0.5, -0.6, -0.7, -0.8])
    assert "mask" not in flat and "clipped" not in flat
    assert dump.per_token(batch.slice(1, 1))["tokens"].tolist() == [8, 9]


def test_clip_events_are_worked_out_from_the_bounds_where_the_file_has_none(small, written):
    rng = np.random.default_rng(1)
    old = torch.from_numpy(rng.normal(-1, 0.3, (3, 4)).astype(np.float32))
    new = torch.from_numpy(rng.normal(-1, 0.3, (3, 4)).astype(np.float32))
    a, mask = small["advantages"][:, None], small["mask"].bool()
    low, high = torch.tensor([[0.1], [0.05], [0.2]]), torch.full((3, 4), math.inf)
    high[0], high[2] = 0.1, -0.05
    path = written(logprobs=new, old_logprobs=old, low=low, high=high)
    found = dump.per_token(next(dump.read(path)))["clipped"]
    events = clip_events(new - old, a, low=low, high=high)
    assert found.tolist() == (events.high.int() - events.low.int())[mask].tolist()
    assert {-1, 0, 1} == set(found.tolist())
    by_sequence = path.with_name("b.parquet")
    dump.save(by_sequence, list(dump.read(path)), notes={"importance_sampling_level": "sequence"})
    for batch in dump.read(by_sequence):
        assert "clipped" not in dump.per_token(batch) and "clipped" not in dump.per_token(batch.slice(1))


def test_cut_takes_the_rollouts_from_a_step_on_and_nothing_else(tmp_path):
    names = [dump.file_name(9), dump.file_name(10), dump.file_name(10, 1, 2), dump.file_name(1_000_000)]
    others = ["step-x.parquet", "notes-10.parquet", "step-000010.json"]
    for name in [*names, *others, ".step-000009.parquet.part"]:
        (tmp_path / name).touch()
    dump.cut(tmp_path, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([names[0], *others])
    dump.cut(tmp_path / "none", 0)
