"""Rows against the schema: what the writer makes and what the reader lets in are held to the same rules."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from entrostat.dump.schema import COLUMNS, MAY_BE_INFINITE, NULLABLE, Column
from entrostat.texts import first_line


def check_columns(schema: pa.Schema, where: str) -> None:
    """ValueError for a required column that is missing, and for a column of ours that holds something else."""
    for name, column in COLUMNS.items():
        if schema.names.count(name) > 1:
            raise ValueError(
                f"{where}: column {name!r} is there {schema.names.count(name)} times: keep one"
            )
        if name in schema.names:
            if not _fits(schema.field(name).type, column):
                kind = (
                    str(schema.field(name).type).encode("unicode_escape").decode()[:80]
                )
                raise ValueError(
                    f"{where}: column {name!r} is {kind}, it must be {column.type}"
                )
        elif column.required:
            raise ValueError(
                f"{where}: column {name!r} is missing: every dump needs it"
            )


def as_schema(
    batch: pa.RecordBatch, where: str, first_row: int, names: Sequence[str]
) -> pa.RecordBatch:
    """The columns `names` of a batch of rows, in the types of the schema, checked value by value.

    Args:
        batch: at least step, sample and mask, in types that `check_columns` let pass.
        where: file, for errors.
        first_row: the file's row that the batch begins with.

    Raises:
        ValueError: one line with the file, its row and column: a null, lists of unequal length in a row, or a number
            that is not finite at a trained token (low and high may be infinite).
    """
    columns = {}
    for name in names:
        spec, array = COLUMNS[name], batch.column(name)
        _no_nulls(array, name, spec, where, first_row)
        try:
            columns[name] = array.cast(spec.type)
        except pa.ArrowException as error:
            problem = first_line(error)
            raise ValueError(
                f"{where}: rows from {first_row}, column {name!r}: {problem}"
            ) from None
    _equal_lengths(columns, where, first_row)
    _finite(columns, where, first_row)
    fields = [pa.field(name, COLUMNS[name].type, name in NULLABLE) for name in columns]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


def offsets(array: pa.Array) -> np.ndarray:
    """Where each row of a list column starts in its `flatten()`, and where the last ends; (rows + 1,)."""
    return np.concatenate([[0], np.cumsum(_lengths(array), dtype=np.int64)])


def _lengths(array: pa.Array) -> np.ndarray:
    return pc.call_function("list_value_length", [array]).to_numpy(zero_copy_only=False)


def _fits(found: pa.DataType, column: Column) -> bool:
    if column.per_token:
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _entry_fits(found.value_type, column.kind)
    return _entry_fits(found, column.kind)


def _entry_fits(found: pa.DataType, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return pa.types.is_string(kind) and _entry_fits(found.value_type, kind)
    if pa.types.is_integer(kind):
        return pa.types.is_integer(found)
    if pa.types.is_floating(kind):
        return pa.types.is_floating(found)
    if pa.types.is_string(kind):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return found == kind


def _no_nulls(
    array: pa.Array, name: str, spec: Column, where: str, first_row: int
) -> None:
    if array.null_count and name not in NULLABLE:
        row = first_row + int(
            np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]
        )
        raise ValueError(
            f"{where}: row {row}, column {name!r}: null: give a value, or leave the column out"
        )
    if spec.per_token and (entries := array.flatten()).null_count:
        bad = int(np.flatnonzero(entries.is_null().to_numpy(zero_copy_only=False))[0])
        row, position = _row_of(array, bad)
        raise ValueError(
            f"{where}: row {first_row + row}, column {name!r}: null at position {position}"
        )


def _equal_lengths(columns: dict[str, pa.Array], where: str, first_row: int) -> None:
    want = _lengths(columns["mask"])
    for name, array in columns.items():
        if COLUMNS[name].per_token and ((found := _lengths(array)) != want).any():
            row = int(np.flatnonzero(found != want)[0])
            raise ValueError(
                f"{where}: row {first_row + row}, column {name!r}: {found[row]} entries, but mask has {want[row]}"
            )


def _finite(columns: dict[str, pa.Array], where: str, first_row: int) -> None:
    trained = columns["mask"].flatten().to_numpy(zero_copy_only=False)
    for name, array in columns.items():
        if not (COLUMNS[name].per_token and pa.types.is_floating(COLUMNS[name].kind)):
            continue
        values = array.flatten().to_numpy(zero_copy_only=False)
        bad = (
            np.isnan(values) if name in MAY_BE_INFINITE else ~np.isfinite(values)
        ) & trained
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            row, position = _row_of(array, at)
            raise ValueError(
                f"{where}: row {first_row + row}, column {name!r}: {values[at]} at trained position {position}"
            )
    if "reward" in columns:
        rewards = columns["reward"].to_numpy(
            zero_copy_only=False
        )  # null becomes NaN here
        known = columns["reward"].is_valid().to_numpy(zero_copy_only=False)
        if (bad := known & ~np.isfinite(rewards)).any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{where}: row {first_row + row}, column 'reward': {rewards[row]}: give a null instead"
            )


def _row_of(array: pa.Array, entry: int) -> tuple[int, int]:
    """The row and the position in it of an entry of `array.flatten()`."""
    starts = offsets(array)
    row = int(np.searchsorted(starts, entry, side="right")) - 1
    return row, entry - int(starts[row])
