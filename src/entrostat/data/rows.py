"""The rows of a file, each with its number from 1: JSON lines, a JSON array or
Parquet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entrostat.texts import first_line


def file_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Each row with its number. ValueError, one line, for what can't be read."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".json" and _first_byte(path) == b"[":
        yield from _array(path)
    else:
        yield from _lines(path)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    # loads slowly, and JSON needs none of it
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: no Parquet file ({first_line(error)})") from None


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024).lstrip()[:1]


def _array(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    # deep brackets end Python's stack
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON ({error})") from None
    yield from enumerate(rows, 1)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Each line that is not empty, with its number."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                columns = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{path}, row {number}: no JSON ({error}); give one object a line"
                ) from None
            yield number, columns
