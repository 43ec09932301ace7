"""Writes dumps: padded tensors or lists to rows, rows to one Parquet file."""

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
from entrostat.dump.schema import BATCH_TOKENS, COLUMNS, NOISY, metadata
from entrostat.texts import first_line

_REQUIRED = ("tokens", "logprobs", "advantages")
"""What `rows` can't fill in."""
_MOST_TOKENS = 2**31 - 1
"""In one batch of rows: Arrow's lists count in int32."""


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
    """Rows of a dump, one per completion, from a trainer's tensors.

    Args:
        columns: of entrostat.dump.schema.COLUMNS; a column of None is left out.

            tokens, mask and the other columns per token are (b t) tensors or arrays,
            padded on the right, or b lists. What is the same for all tokens of a
            completion may be (b,) or (b 1), and what is the same for all tokens a
            number. A completion ends with its last token of the mask; without a mask
            all tokens are trained on. Log-probabilities, entropy and sums are in nats,
            of the policy of this pass, at the sampler's temperature. low and high are
            half-widths.

            text is b lists of strings; or leave it out and give `decode`. prompt is b
            strings.

            step, sample, group, update and reward are one per completion, or a number
            for all. step is 0 and sample counts from 0 where they are not given. A
            reward of NaN is a completion that was not scored.
        decode: gives the text of a list of one token id; a tokenizer's decode.

    Raises:
        ValueError: one line: an unknown or missing column, a shape that does not fit, a
            number that is not finite at a trained token.

    >>> batch = rows(
    ...     tokens=[[5, 6], [7]],
    ...     logprobs=[[-0.1, -2.0], [-1.0]],
    ...     advantages=[1.0, -1.0],
    ... )
    >>> batch.column("advantages").to_pylist()
    [[1.0, 1.0], [-1.0]]
    """
    columns = _named(columns)
    layout = _Layout(columns["tokens"], columns.pop("mask", None))
    columns = {"step": 0, "sample": np.arange(layout.b)} | columns
    arrays = {"mask": layout.lists(pa.array(layout.mask))}
    for name, value in columns.items():
        per_token = COLUMNS[name].per_token
        to_array = _per_token if per_token else _per_completion
        arrays[name] = to_array(layout, name, value)
    if decode is not None and "text" not in arrays:
        arrays["text"] = layout.lists(_decoded(arrays["tokens"].flatten(), decode))
    names = [name for name in COLUMNS if name in arrays]
    batch = pa.RecordBatch.from_pydict({name: arrays[name] for name in names})
    return as_schema(batch, "rows", 0, names)


def _named(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns that were given. ValueError for an unknown name and a missing one."""
    for name in columns:
        if name not in COLUMNS:
            raise ValueError(
                f"a dump has no column {name!r}: it has {', '.join(COLUMNS)}"
            )
    given = {name: value for name, value in columns.items() if value is not None}
    for name in _REQUIRED:
        if name not in given:
            raise ValueError(f"a dump needs {name!r}: give it, one entry a token")
    return given


def save(
    path: Path | str,
    parts: Iterable[pa.RecordBatch],
    *,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes `rows` of one rollout to a Parquet file at `path`, whole or not at all.

    Args:
        parts: of equal columns.
        notes: JSON-able facts of the run, into the file's metadata.
        overwrite: replace a file that is there.

    Raises:
        ValueError: the file exists, there are no rows, or columns differ between parts.
        OSError: the disk does not take it.
    """
    path = Path(path)
    batches = list(parts)
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another name, or pass overwrite=True")
    _check_parts(batches, path)
    table = pa.Table.from_batches(batches).combine_chunks()
    table = table.replace_schema_metadata(metadata(notes or {}))
    # a name that `cut` knows, so that what a kill leaves is removed with the next run
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


def _check_parts(batches: list[pa.RecordBatch], path: Path) -> None:
    if not sum(batch.num_rows for batch in batches):
        raise ValueError(f"{path}: no rows to write")
    expected = batches[0].schema.names
    for batch in batches:
        check_columns(batch.schema, str(path))
        names = batch.schema.names
        if names != expected:
            raise ValueError(f"{path}: parts have columns {expected} and {names}")


def _write_parquet(table: pa.Table, file: Any) -> None:
    noisy, repeating = [], []
    for name in table.column_names:
        leaf = f"{name}.list.element" if COLUMNS[name].per_token else name
        (noisy if name in NOISY else repeating).append(leaf)
    tokens = int(offsets(table.column("mask").chunk(0))[-1])
    rows_per_group = BATCH_TOKENS * table.num_rows // max(1, tokens)
    options: dict[str, Any] = {
        "row_group_size": max(1, rows_per_group),
        "compression": "zstd",
        "use_dictionary": repeating,
        "use_byte_stream_split": noisy,
        "write_page_checksum": True,
    }
    pq.write_table(table, file, **options)


class _Layout:
    """Which entries of padded or ragged input are tokens of a completion.

    b: completions. lengths: (b,). mask: of all tokens, completion after completion.
    """

    def __init__(self, tokens: Any, mask: Any):
        tokens, mask = _array(tokens), _array(mask)
        self.b = len(tokens)
        self.padded: tuple[int, ...] | None = None
        """The shape of padded input, (b, t)."""
        if isinstance(tokens, np.ndarray):
            self._from_padded(tokens, mask)
            return
        self.lengths = np.array([len(row) for row in tokens], dtype=np.int64)
        self.mask = np.ones(self.tokens, bool)
        if mask is not None:
            self.mask = self.flat("mask", mask).astype(bool)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    def _from_padded(self, tokens: np.ndarray, mask: Any) -> None:
        shape = tokens.shape
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (b t) or b lists, got shape {shape}")
        if mask is None:
            mask = np.ones(shape, bool)
        if not isinstance(mask, np.ndarray) or mask.shape != shape:
            raise ValueError(
                f"mask must have the shape of tokens {shape}, got {_shape(mask)}"
            )
        mask = mask.astype(bool)
        t = shape[1]
        last_from_the_end = mask[:, ::-1].argmax(1)
        self.padded = shape
        self.lengths = np.where(mask.any(1), t - last_from_the_end, 0)
        self._keep = np.arange(t) < self.lengths[:, None]
        self.mask = mask[self._keep]

    def flat(self, name: str, value: Any) -> np.ndarray:
        """One entry per token, from what was given for a column per token.

        ValueError where it does not fit.
        """
        value = _array(value)
        if isinstance(value, list):
            if [len(row) for row in value] == self.lengths.tolist():
                pieces = [np.asarray(row) for row in value]
                return np.concatenate(pieces) if pieces else np.zeros(0)
        elif value.ndim == 0:
            return np.full(self.tokens, value)
        elif value.shape in ((self.b,), (self.b, 1)):
            return np.repeat(value.reshape(-1), self.lengths)
        elif value.shape == self.padded:
            return value[self._keep]
        wanted = "lists as long as those of tokens"
        if self.padded:
            wanted = f"(b t) = {self.padded}"
        raise ValueError(
            f"{name} must be {wanted}, or one value a completion, got {_shape(value)}"
        )

    def lists(self, entries: pa.Array) -> pa.Array:
        """A list column of these entries, one per token."""
        if self.tokens > _MOST_TOKENS:
            raise ValueError(
                f"{self.tokens} tokens in one batch of rows: split it, {_MOST_TOKENS} "
                "are the most"
            )
        starts = np.concatenate(([0], np.cumsum(self.lengths)))
        return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), entries)


def _array(value: Any) -> Any:
    """A numpy array, or a list of rows where they are ragged; None stays."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # numpy has no bfloat16
        return (value.float() if value.is_floating_point() else value).numpy()
    if isinstance(value, Sequence) and any(np.ndim(row) for row in value):
        return [_array(row) for row in value]
    return np.asarray(value)


def _shape(value: Any) -> str:
    """In words, for errors."""
    if value is None:
        return "nothing"
    if isinstance(value, np.ndarray):
        return f"shape {value.shape}"
    return f"{len(value)} lists"


def _per_token(layout: _Layout, name: str, value: Any) -> pa.Array:
    if name == "text":
        return layout.lists(_texts(layout, value))
    entries = layout.flat(name, value)
    if entries.size and entries.dtype.kind not in "iufb":
        raise ValueError(f"{name} must be numbers, got {entries.dtype}")
    kind = COLUMNS[name].kind
    if pa.types.is_floating(kind):
        known = np.where(layout.mask, entries, math.nan)
        return layout.lists(pa.array(known.astype(np.float32)))
    if name != "tokens":
        # a side of the clip: none where no token is trained on
        entries = np.where(layout.mask, entries, 0)
    return layout.lists(_integers(name, entries, kind))


def _texts(layout: _Layout, value: Any) -> pa.Array:
    """The entries of the column "text"."""
    if [len(row) for row in value] != layout.lengths.tolist():
        raise ValueError(
            f"text must be {layout.b} lists of strings, one a token of the completion"
        )
    pieces = []
    for row in value:
        pieces += row
    return _strings("text", pieces)


def _per_completion(layout: _Layout, name: str, value: Any) -> pa.Array:
    entries = _entries(layout.b, name, value)
    if len(entries) != layout.b:
        raise ValueError(
            f"{name} must have one entry a completion, {layout.b}, got {len(entries)}"
        )
    return entries


def _entries(b: int, name: str, value: Any) -> pa.Array:
    if name == "prompt":
        return _strings(name, list(value))
    values = _array(value)
    if np.ndim(values) == 0:
        values = np.full(b, values)
    values = values.reshape(-1)
    kind = COLUMNS[name].kind
    if pa.types.is_floating(kind):
        # from_pandas: NaN becomes null
        return pa.array(values.astype(np.float32), from_pandas=True)
    return _integers(name, values, kind)


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
    """The text of each token; each id is decoded once."""
    ids, which = np.unique(tokens.to_numpy(zero_copy_only=False), return_inverse=True)
    texts = [decode([token]) for token in ids.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(which))
