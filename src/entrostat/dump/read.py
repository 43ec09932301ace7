"""Reads dumps as a stream of rows, checked: a file, a folder of them, a run's folder, or prime-rl's token export."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat.dump.check import as_schema, check_columns
from entrostat.dump.folder import files
from entrostat.dump.prime_rl import read_export
from entrostat.dump.schema import COLUMNS, metadata, read_metadata
from entrostat.texts import first_line

_BATCH_TOKENS = 2**18
Bad = Callable[[str, int], None]
"""Takes the line of what can't be read, and how many rows it leaves out; 0 for a file, or the rest of one."""


def read(
    path: Path | str, columns: Sequence[str] | None = None, *, bad: Bad | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches of rows, file by file in the order of their numbers, each of about 250,000 tokens or one row.

    Args:
        path: a dump, a folder of dumps, a run's folder, or a token export of prime-rl.
        columns: those wanted, of entrostat.dump.schema.COLUMNS; step, sample and mask come too. A column that a file
            lacks is not in its batches. None for all.
        bad: called where a row, a stretch of rows or a file can't be read; they are left out. None: that is an error.

    Yields:
        Record batches in the types of the schema, checked; their schema's metadata is the file's.

    Raises:
        ValueError: one line with file, row and column: no dump, damaged, another version, wrong types, lists of unequal
            length, a number that is not finite at a trained token.
    """
    for name in columns or ():
        if name not in COLUMNS:
            raise ValueError(
                f"a dump has no column {name!r}: it has {', '.join(COLUMNS)}"
            )
    wanted = [
        name
        for name in COLUMNS
        if columns is None or name in {"step", "sample", "mask", *columns}
    ]
    seen: dict[int, int] = {}
    for file in files(path):
        try:
            if file.suffix == ".jsonl":
                yield from read_export(file, wanted, seen, bad)
            else:
                yield from _read_parquet(file, wanted, bad)
        except ValueError as error:
            if bad is None:
                raise
            bad(str(error), 0)


def notes(path: Path | str) -> dict[str, Any]:
    """What the writer noted of the run: of a dump, or of the first in a folder. {} for prime-rl's export.

    What the engines note is in docs/dump.md.

    Raises:
        ValueError: as `read`.
    """
    first = files(path)[0]
    if first.suffix == ".jsonl":
        return {}
    with _opened(first) as parquet:
        return read_metadata(parquet.metadata.metadata, str(first))


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{file}: no whole Parquet file ({_line(error)}): write the dump again"
        ) from None


def _read_parquet(
    file: Path, wanted: Sequence[str], bad: Bad | None
) -> Iterator[pa.RecordBatch]:
    where = str(file)
    with _opened(file) as parquet:
        noted = metadata(read_metadata(parquet.metadata.metadata, where))
        schema = _arrow_schema(parquet, where)
        check_columns(schema, where)
        names = [name for name in wanted if name in schema.names]
        if not parquet.metadata.num_rows:
            raise ValueError(f"{where}: no rows in it")
        for first_row, batch in _batches(parquet, names, where, bad):
            for checked in _checked(batch, where, first_row, names, bad):
                yield checked.replace_schema_metadata(noted)


def _checked(
    batch: pa.RecordBatch, where: str, first_row: int, names: list[str], bad: Bad | None
) -> Iterator[pa.RecordBatch]:
    """The batch in the types of the schema; where `bad` takes its bad rows, what is left, in halves of halves."""
    try:
        found = as_schema(batch, where, first_row, names)
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
        yield found


def _arrow_schema(parquet: pq.ParquetFile, where: str) -> pa.Schema:
    try:
        return parquet.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{where}: its columns can't be read ({_line(error)}): write the dump again"
        ) from None


def _batches(
    parquet: pq.ParquetFile, names: list[str], where: str, bad: Bad | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the file's row that each begins with."""
    row = 0
    for group in range(parquet.metadata.num_row_groups):
        end = row + parquet.metadata.row_group(group).num_rows
        stream = _group_batches(parquet, group, names)
        while True:
            try:
                batch = next(stream, None)
            except (pa.ArrowException, OSError) as error:
                problem = f"{where}: rows from {row}: damaged ({_line(error)}): write the dump again"
                if bad is None:
                    raise ValueError(problem) from None
                bad(problem, end - row)
                row = end
                break
            if batch is None:
                break
            yield row, batch
            row += batch.num_rows
    if row != parquet.metadata.num_rows:
        raise ValueError(
            f"{where}: {row} rows in it, but it says {parquet.metadata.num_rows}"
        )


def _group_batches(
    parquet: pq.ParquetFile, group: int, names: list[str]
) -> Iterator[pa.RecordBatch]:
    """A row group's batches of about _BATCH_TOKENS entries."""
    # asked of a column with damaged metadata pyarrow 26 aborts the process; where it reads the column, it raises
    next(parquet.iter_batches(batch_size=1, row_groups=[group], columns=names), None)
    about = parquet.metadata.row_group(group)
    chosen = [
        i
        for i in range(about.num_columns)
        if parquet.schema.column(i).path.split(".")[0] in names
    ]
    entries = max((about.column(i).num_values for i in chosen), default=0)
    size = max(1, _BATCH_TOKENS * about.num_rows // max(1, entries))
    yield from parquet.iter_batches(batch_size=size, row_groups=[group], columns=names)


def _line(error: Exception) -> str:
    return first_line(error)
