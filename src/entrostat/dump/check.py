"""Rows against the schema: the same rules for what is written and what is read."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from entrostat.dump.schema import COLUMNS, MAY_BE_INFINITE, NULLABLE, Column
from entrostat.texts import first_line

Bad = Callable[[str, int], None]
"""Takes the line of what can't be read, and how many rows it leaves out; 0 for a file,
or the rest of one."""


ROUNDING = 1e-3
"""Nats by which a logarithm of a probability may be over 0, or an entropy under it: half
precision."""
_LOGPROB = (1, ": the logarithm of a probability is at most 0")
_ENTROPY = (-1, ": an entropy is at least 0")
SIGNS = {
    "logprobs": _LOGPROB,
    "old_logprobs": _LOGPROB,
    "entropy": _ENTROPY,
    "old_entropy": _ENTROPY,
}
"""Columns with a sign that they cannot have, and why."""


class _Place(NamedTuple):
    """Where a batch of rows stands, for errors."""

    where: str
    """The file."""
    first_row: int
    """The file's row that the batch begins with."""

    def error(self, row: int, name: str, problem: str) -> ValueError:
        """For a row of the batch."""
        row += self.first_row
        return ValueError(f"{self.where}: row {row}, column {name!r}: {problem}")


def check_columns(schema: pa.Schema, where: str) -> None:
    """The columns of a file, before its rows are read.

    Raises:
        ValueError: a required column is missing, or a column of ours holds another type
            or is there twice.
    """
    for name, column in COLUMNS.items():
        times = schema.names.count(name)
        if times == 0 and column.required:
            raise ValueError(
                f"{where}: column {name!r} is missing: every dump needs it"
            )
        if times > 1:
            raise ValueError(
                f"{where}: column {name!r} is there {times} times: keep one"
            )
        if times == 1:
            _check_type(schema.field(name).type, column, f"{where}: column {name!r}")


def _check_type(kind: pa.DataType, column: Column, what: str) -> None:
    if not _fits(kind, column):
        # names of fields in it are the writer's: escaped, and cut
        shown = str(kind).encode("unicode_escape").decode()[:80]
        raise ValueError(f"{what} is {shown}, it must be {column.type}")


def as_schema(
    batch: pa.RecordBatch,
    where: str,
    first_row: int,
    names: Sequence[str],
) -> pa.RecordBatch:
    """The columns `names` of a batch in the types of the schema, every value checked.

    Args:
        batch: at least step, sample and mask, in types that `check_columns` let pass.
        where: file, for errors.
        first_row: the file's row that the batch begins with.

    Raises:
        ValueError: one line with the file, its row and column: a null, lists of unequal
            length in a row, or a number that is not finite at a trained token (low and
            high may be infinite).
    """
    place = _Place(where, first_row)
    columns = {}
    for name in names:
        array = batch.column(name)
        _check_nulls(array, name, place)
        try:
            columns[name] = array.cast(COLUMNS[name].type)
        except pa.ArrowException as error:
            problem = first_line(error)
            raise ValueError(
                f"{where}: rows from {first_row}, column {name!r}: {problem}"
            ) from None
    _check_lengths(columns, place)
    _check_tokens(columns, place)
    if "reward" in columns:
        _check_rewards(columns["reward"], place)
    fields = [pa.field(name, COLUMNS[name].type, name in NULLABLE) for name in columns]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


def offsets(array: pa.Array) -> np.ndarray:
    """Where each row of a list column starts in its `flatten()`, (rows + 1,).

    The last entry is where the last row ends.
    """
    ends = np.cumsum(_lengths(array), dtype=np.int64)
    return np.concatenate(([0], ends))


def flat(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """The entries of a list column, row after row; of another column, its values."""
    column = batch.column(name)
    if pa.types.is_list(column.type):
        column = column.flatten()
    return _numpy(column)


def _numpy(array: pa.Array) -> np.ndarray:
    # booleans, and numbers with nulls, which become NaN, have to be copied
    return array.to_numpy(zero_copy_only=False)


def _lengths(array: pa.Array) -> np.ndarray:
    return _numpy(pc.call_function("list_value_length", [array]))


def _fits(kind: pa.DataType, column: Column) -> bool:
    """Whether a column of that type can be cast to ours without a change of meaning."""
    if not column.per_token:
        return _entry_fits(kind, column.kind)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and _entry_fits(kind.value_type, column.kind)


def _entry_fits(kind: pa.DataType, ours: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return pa.types.is_string(ours) and _entry_fits(kind.value_type, ours)
    if pa.types.is_integer(ours):
        return pa.types.is_integer(kind)
    if pa.types.is_floating(ours):
        return pa.types.is_floating(kind)
    if pa.types.is_string(ours):
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return kind == ours


def _check_nulls(array: pa.Array, name: str, place: _Place) -> None:
    if array.null_count and name not in NULLABLE:
        row = _first(_numpy(array.is_null()))
        problem = "null: give a value, or leave the column out"
        raise place.error(row, name, problem)
    if not COLUMNS[name].per_token:
        return
    entries = array.flatten()
    if entries.null_count:
        row, position = _row_of(array, _first(_numpy(entries.is_null())))
        raise place.error(row, name, f"null at position {position}")


def _check_lengths(columns: dict[str, pa.Array], place: _Place) -> None:
    expected = _lengths(columns["mask"])
    for name, array in columns.items():
        if not COLUMNS[name].per_token:
            continue
        lengths = _lengths(array)
        differs = lengths != expected
        if differs.any():
            row = _first(differs)
            problem = f"{lengths[row]} entries, but mask has {expected[row]}"
            raise place.error(row, name, problem)


def _check_tokens(columns: dict[str, pa.Array], place: _Place) -> None:
    """Numbers at trained tokens are finite; elsewhere they may be anything."""
    trained = _numpy(columns["mask"].flatten())
    for name, array in columns.items():
        column = COLUMNS[name]
        if not (column.per_token and pa.types.is_floating(column.kind)):
            continue
        values = _numpy(array.flatten())
        allowed = ~np.isnan(values) if name in MAY_BE_INFINITE else np.isfinite(values)
        wrong = trained & ~allowed
        why = ""
        if name in SIGNS and not wrong.any():
            sign, why = SIGNS[name]
            wrong = trained & (sign * values > ROUNDING)
        if wrong.any():
            entry = _first(wrong)
            row, position = _row_of(array, entry)
            problem = f"{values[entry]} at trained position {position}{why}"
            raise place.error(row, name, problem)


def _check_rewards(array: pa.Array, place: _Place) -> None:
    rewards = _numpy(array)
    # a null is NaN in `rewards` too, but it is allowed
    wrong = _numpy(array.is_valid()) & ~np.isfinite(rewards)
    if wrong.any():
        row = _first(wrong)
        raise place.error(row, "reward", f"{rewards[row]}: give a null instead")


def _first(flags: np.ndarray) -> int:
    """The place of the first that is true."""
    return int(np.argmax(flags))


def _row_of(array: pa.Array, entry: int) -> tuple[int, int]:
    """The row and the position in it of an entry of `array.flatten()`."""
    starts = offsets(array)
    row = int(np.searchsorted(starts, entry, side="right")) - 1
    return row, entry - int(starts[row])
