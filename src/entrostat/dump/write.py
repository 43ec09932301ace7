"""Writes dumps: padded tensors or lists to rows, rows to one Parquet file, whole or not at all."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from entrostat.dump.check import as_schema, check_columns, offsets
from entrostat.dump.schema import COLUMNS, NOISY, metadata
from entrostat.texts import first_line

_GROUP_TOKENS = 2**18
"""Tokens a row group: what a reader holds at once."""


def write(
    path: Path | str,
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
    **columns: Any,
) -> None:
    """Writes one rollout to a dump at `path`: `rows` of these columns, then `save`.

    Raises:
        ValueError: what `rows` and `save` raise.
    """
    save(path, [rows(**columns)], notes=notes, overwrite=overwrite)


def rows(
    *, decode: Callable[[list[int]], str] | None = None, **columns: Any
) -> pa.RecordBatch:
    """Rows of a dump, one a completion, from a trainer's tensors. Columns: entrostat.dump.schema.COLUMNS.

    Args:
        tokens, mask and the other columns per token: (b t) tensors or arrays, padded on the right, or b lists. What is
            the same for all tokens of a completion may be (b,) or (b 1), and for all tokens a number. A completion ends
            with its last token of the mask; without a mask all tokens are trained on. Log-probabilities, entropy and
            sums: nats, of the policy of this pass, at the sampler's temperature. low and high: half-widths.
        text: b lists of strings; or leave it out and give `decode`.
        step, sample, group, update, reward: one a completion, or a number for all; step is 0 and sample counts from 0
            where they are not given. A reward of NaN is a completion that was not scored.
        prompt: b strings.
        decode: gives the text of a list of one token id; a tokenizer's decode.

    Raises:
        ValueError: one line: an unknown or missing column, a shape that does not fit, a number that is not finite at a
            trained token.

    >>> batch = rows(tokens=[[5, 6], [7]], logprobs=[[-0.1, -2.0], [-1.0]], advantages=[1.0, -1.0])
    >>> batch.column("advantages").to_pylist()
    [[1.0, 1.0], [-1.0]]
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ValueError(
            f"a dump has no column {unknown[0]!r}: it has {', '.join(COLUMNS)}"
        )
    columns = {name: value for name, value in columns.items() if value is not None}
    missing = [
        name for name in ("tokens", "logprobs", "advantages") if name not in columns
    ]
    if missing:
        raise ValueError(f"a dump needs {missing[0]!r}: give it, one entry a token")
    shape = _Shape(columns["tokens"], columns.pop("mask", None))
    arrays: dict[str, pa.Array] = {"mask": shape.lists(pa.array(shape.mask))}
    for name, value in ({"step": 0, "sample": np.arange(shape.b)} | columns).items():
        arrays[name] = (
            _per_token(shape, name, value)
            if COLUMNS[name].per_token
            else _per_row(shape.b, name, value)
        )
    if decode is not None and "text" not in arrays:
        arrays["text"] = shape.lists(_decoded(arrays["tokens"].flatten(), decode))
    names = [name for name in COLUMNS if name in arrays]
    return as_schema(
        pa.RecordBatch.from_pydict({name: arrays[name] for name in names}),
        "rows",
        0,
        names,
    )


def save(
    path: Path | str,
    parts: Iterable[pa.RecordBatch],
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes `rows` of one rollout, of equal columns, to a Parquet file at `path`, whole or not at all.

    Args:
        notes: JSON-able facts of the run, into the file's metadata.
        overwrite: replace a file that is there.

    Raises:
        ValueError: the file exists, there are no rows, or columns differ between parts.
        OSError: the disk does not take it.
    """
    path, batches = Path(path), list(parts)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another name, or pass overwrite=True")
    if not sum(batch.num_rows for batch in batches):
        raise ValueError(f"{path}: no rows to write")
    for batch in batches:
        check_columns(batch.schema, str(path))
        if batch.schema.names != batches[0].schema.names:
            raise ValueError(
                f"{path}: parts have columns {batches[0].schema.names} and {batch.schema.names}"
            )
    table = (
        pa.Table.from_batches(batches)
        .replace_schema_metadata(metadata(notes or {}))
        .combine_chunks()
    )
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            _write_parquet(table, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _write_parquet(table: pa.Table, file: Any) -> None:
    leaves = {
        name: name + (".list.element" if COLUMNS[name].per_token else "")
        for name in table.column_names
    }
    tokens = offsets(table.column("mask").chunk(0))[-1]
    options: dict[str, Any] = {
        "row_group_size": max(1, _GROUP_TOKENS * table.num_rows // max(1, int(tokens))),
        "compression": "zstd",
        "use_dictionary": [leaf for name, leaf in leaves.items() if name not in NOISY],
        "use_byte_stream_split": [
            leaf for name, leaf in leaves.items() if name in NOISY
        ],
        "write_page_checksum": True,
    }
    pq.write_table(table, file, **options)


class _Shape:
    """Which entries of padded or ragged input are tokens of a completion."""

    def __init__(self, tokens: Any, mask: Any):
        tokens, mask = _array(tokens), _array(mask)
        self.b = len(tokens)
        if isinstance(tokens, np.ndarray):
            if tokens.ndim != 2:
                raise ValueError(
                    f"tokens must be (b t) or b lists, got shape {tokens.shape}"
                )
            self.padded: tuple[int, ...] | None = tokens.shape
            mask = np.ones(tokens.shape, bool) if mask is None else mask
            if not isinstance(mask, np.ndarray) or mask.shape != tokens.shape:
                raise ValueError(
                    f"mask must have the shape of tokens {tokens.shape}, got {_shape(mask)}"
                )
            mask = mask.astype(bool)
            self.lengths = np.where(
                mask.any(1), mask.shape[1] - mask[:, ::-1].argmax(1), 0
            )
            self.keep = np.arange(mask.shape[1]) < self.lengths[:, None]
            self.mask = mask[self.keep]
        else:
            self.padded = None
            self.lengths = np.array([len(row) for row in tokens], dtype=np.int64)
            self.mask = (
                np.ones(int(self.lengths.sum()), bool)
                if mask is None
                else self.flat("mask", mask).astype(bool)
            )

    def flat(self, name: str, value: Any) -> np.ndarray:
        """One entry a token, from what was given for a column per token. ValueError where it does not fit."""
        value = _array(value)
        if isinstance(value, np.ndarray):
            if value.ndim == 0:
                return np.full(int(self.lengths.sum()), value)
            if value.shape in ((self.b,), (self.b, 1)):
                return np.repeat(value.reshape(-1), self.lengths)
            if self.padded is not None and value.shape == self.padded:
                return value[self.keep]
        elif [len(row) for row in value] == self.lengths.tolist():
            return (
                np.concatenate([np.asarray(row) for row in value])
                if self.b
                else np.zeros(0)
            )
        want = (
            f"(b t) = {self.padded}"
            if self.padded
            else "lists as long as those of tokens"
        )
        raise ValueError(
            f"{name} must be {want}, or one value a completion, got {_shape(value)}"
        )

    def lists(self, entries: pa.Array) -> pa.Array:
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        if starts[-1] >= 2**31:
            raise ValueError(
                f"{starts[-1]} tokens in one batch of rows: split it, {2**31 - 1} are the most"
            )
        return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), entries)


def _array(value: Any) -> Any:
    """A numpy array, or a list of rows where they are ragged; None stays."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    if isinstance(value, Sequence) and any(np.ndim(row) for row in value):
        return [_array(row) for row in value]
    return None if value is None else np.asarray(value)


def _shape(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"shape {value.shape}"
    return "nothing" if value is None else f"{len(value)} lists"


def _per_token(shape: _Shape, name: str, value: Any) -> pa.Array:
    kind = COLUMNS[name].kind
    if name == "text":
        if [len(row) for row in value] != shape.lengths.tolist():
            raise ValueError(
                f"text must be {shape.b} lists of strings, one a token of the completion"
            )
        return shape.lists(_strings(name, [piece for row in value for piece in row]))
    entries = shape.flat(name, value)
    if entries.size and entries.dtype.kind not in "iufb":
        raise ValueError(f"{name} must be numbers, got {entries.dtype}")
    if pa.types.is_floating(kind):
        return shape.lists(
            pa.array(np.where(shape.mask, entries, math.nan).astype(np.float32))
        )
    if name != "tokens":  # a side: none where no token is trained on
        entries = np.where(shape.mask, entries, 0)
    return shape.lists(_integers(name, entries, kind))


def _per_row(b: int, name: str, value: Any) -> pa.Array:
    kind = COLUMNS[name].kind
    if name == "prompt":
        entries = _strings(name, list(value))
    else:
        values = _array(value)
        values = np.full(b, values) if np.ndim(values) == 0 else values.reshape(-1)
        if pa.types.is_floating(kind):
            entries = pa.array(
                values.astype(np.float32), from_pandas=True
            )  # NaN becomes null
        else:
            entries = _integers(name, values, kind)
    if len(entries) != b:
        raise ValueError(
            f"{name} must have one entry a completion, {b}, got {len(entries)}"
        )
    return entries


def _integers(name: str, values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    try:
        return pa.array(values.astype(np.int64)).cast(kind)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: {first_line(error)}") from None


def _strings(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeError) as error:
        raise ValueError(f"{name} must be strings: {first_line(error)}") from None


def _decoded(tokens: pa.Array, decode: Callable[[list[int]], str]) -> pa.Array:
    ids, which = np.unique(tokens.to_numpy(zero_copy_only=False), return_inverse=True)
    return pa.array([decode([int(i)]) for i in ids], pa.string()).take(pa.array(which))
