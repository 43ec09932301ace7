"""Reads dumps as a stream of checked rows, from one file or from many."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat.dump.check import Bad, as_schema, check_columns
from entrostat.dump.folder import files
from entrostat.dump.prime_rl import read_export
from entrostat.dump.schema import BATCH_TOKENS, COLUMNS, metadata, read_metadata
from entrostat.texts import first_line

_ALWAYS = frozenset({"step", "sample", "mask"})
_ARROW_ERRORS = (pa.ArrowException, OSError)


def read(
    path: Path | str, columns: Sequence[str] | None = None, *, bad: Bad | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches of rows, file by file in the order of their numbers.

    A batch has about 250,000 tokens, or one row.

    Args:
        path: a dump, a folder of dumps, a run's folder, or a token export of prime-rl.
        columns: those wanted, of entrostat.dump.schema.COLUMNS; step, sample and mask
            come too. A column that a file lacks is not in its batches. None for all.
        bad: called where a row, a stretch of rows or a file can't be read; they are
            left out. None: that is an error.

    Yields:
        Record batches in the types of the schema, checked; their schema's metadata is
        the file's.

    Raises:
        ValueError: one line with file, row and column: no dump, damaged, another
            version, wrong types, lists of unequal length, a number that is not finite
            at a trained token.
    """
    wanted = _wanted(columns)
    samples_by_step: dict[int, int] = {}
    for file in files(path):
        try:
            if file.suffix == ".jsonl":
                yield from read_export(file, wanted, samples_by_step, bad)
            else:
                yield from _read_parquet(file, wanted, bad)
        except ValueError as error:
            if bad is None:
                raise
            bad(str(error), 0)


def notes(path: Path | str) -> dict[str, Any]:
    """What the writer noted of the run: of a dump, or of the first in a folder.

    {} for prime-rl's export. What the engines note is in docs/dump.md.

    Raises:
        ValueError: as `read`.
    """
    first = files(path)[0]
    if first.suffix == ".jsonl":
        return {}
    with _opened(first) as parquet:
        names = _arrow_schema(parquet, str(first)).names
        return read_metadata(parquet.metadata.metadata, str(first), names)


def _wanted(columns: Sequence[str] | None) -> list[str]:
    """The columns to read, in the order of the schema."""
    if columns is None:
        return list(COLUMNS)
    for name in columns:
        if name not in COLUMNS:
            raise ValueError(
                f"a dump has no column {name!r}: it has {', '.join(COLUMNS)}"
            )
    return [name for name in COLUMNS if name in columns or name in _ALWAYS]


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except _ARROW_ERRORS as error:
        problem = first_line(error)
        raise ValueError(
            f"{file}: no whole Parquet file ({problem}): write the dump again"
        ) from None


def _read_parquet(
    file: Path, wanted: Sequence[str], bad: Bad | None
) -> Iterator[pa.RecordBatch]:
    where = str(file)
    with _opened(file) as parquet:
        schema = _arrow_schema(parquet, where)
        notes = read_metadata(parquet.metadata.metadata, where, schema.names)
        check_columns(schema, where)
        names = [name for name in wanted if name in schema.names]
        if not parquet.metadata.num_rows:
            raise ValueError(f"{where}: no rows in it")
        for first_row, batch in _batches(parquet, names, where, bad):
            for checked in _checked(batch, where, first_row, names, bad):
                yield checked.replace_schema_metadata(metadata(notes))


def _arrow_schema(parquet: pq.ParquetFile, where: str) -> pa.Schema:
    try:
        return parquet.schema_arrow
    except _ARROW_ERRORS as error:
        problem = first_line(error)
        raise ValueError(
            f"{where}: its columns can't be read ({problem}): write the dump again"
        ) from None


def _checked(
    batch: pa.RecordBatch,
    where: str,
    first_row: int,
    names: list[str],
    bad: Bad | None,
) -> Iterator[pa.RecordBatch]:
    """The batch in the types of the schema.

    Where `bad` takes bad rows, they are found by halving: what is left comes in parts.
    """
    try:
        whole = as_schema(batch, where, first_row, names)
    except ValueError as error:
        if bad is None:
            raise
        if batch.num_rows == 1:
            bad(str(error), 1)
            return
        half = batch.num_rows // 2
        yield from _checked(batch.slice(0, half), where, first_row, names, bad)
        yield from _checked(batch.slice(half), where, first_row + half, names, bad)
    else:
        yield whole


def _batches(
    parquet: pq.ParquetFile,
    names: list[str],
    where: str,
    bad: Bad | None,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the file's row that each begins with.

    What is damaged costs the rest of its row group.
    """
    row = 0
    for group in range(parquet.metadata.num_row_groups):
        end = row + parquet.metadata.row_group(group).num_rows
        try:
            for batch in _group_batches(parquet, group, names):
                yield row, batch
                row += batch.num_rows
        except _ARROW_ERRORS as error:
            problem = (
                f"{where}: rows from {row}: damaged ({first_line(error)}): write the "
                "dump again"
            )
            if bad is None:
                raise ValueError(problem) from None
            bad(problem, end - row)
            row = end
    if row != parquet.metadata.num_rows:
        raise ValueError(
            f"{where}: {row} rows in it, but it says {parquet.metadata.num_rows}"
        )


def _group_batches(
    parquet: pq.ParquetFile, group: int, names: list[str]
) -> Iterator[pa.RecordBatch]:
    """A row group's batches of about BATCH_TOKENS entries."""
    # asked of a column with damaged metadata pyarrow 26 aborts the process; where it
    # reads the column, it raises
    next(parquet.iter_batches(batch_size=1, row_groups=[group], columns=names), None)
    about = parquet.metadata.row_group(group)
    entries = 1
    for i in range(about.num_columns):
        # a list column's path is logprobs.list.element
        name, *_ = parquet.schema.column(i).path.split(".")
        if name in names:
            entries = max(entries, about.column(i).num_values)
    size = max(1, BATCH_TOKENS * about.num_rows // entries)
    yield from parquet.iter_batches(batch_size=size, row_groups=[group], columns=names)
