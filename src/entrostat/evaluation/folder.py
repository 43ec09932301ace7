"""The samples of one benchmark on disk: settings.json, and a Parquet file for each batch of problems.

A file is written whole or not at all, so after a kill at any moment the folder holds what was finished.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from entrostat.data.benchmarks import Benchmark
from entrostat.evaluation.settings import FORMAT, differences
from entrostat.files import held, is_taken, write_json
from entrostat.texts import first_line

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("ended", pa.bool_(), nullable=False),
        pa.field("entropy", pa.float64()),
        pa.field("answer", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("error", pa.string()),
    ]
)


class Sample(NamedTuple):
    """A row: one completion and its verdict."""

    id: str
    sample: int
    """Its number among the problem's, from 0."""
    text: str
    tokens: int
    ended: bool
    entropy: float | None
    answer: str | None
    """What the verifier takes for the answer; None where there is none."""
    score: float | None
    """1.0 right, 0.0 wrong, None where the verifier timed out or died."""
    error: str | None
    """What happened then."""


class Folder:
    """One benchmark's folder in an evaluation's."""

    def __init__(self, path: Path, record: dict[str, Any]):
        self.path, self.record = path, record

    @classmethod
    def open(cls, path: Path, record: dict[str, Any]) -> "Folder":
        """The folder of the evaluation that `record` describes, a new one or the one to go on with; writes nothing.

        Raises:
            ValueError: it belongs to another evaluation, or to something else.
        """
        if is_taken(path):
            differ = differences(read_record(path), record)
            if differ:
                raise ValueError(
                    f"{path} holds another evaluation ({'; '.join(differ)}): give another --out"
                )
        return cls(path, record)

    @classmethod
    def read(cls, path: Path) -> "Folder":
        """A folder that is there. ValueError for what is none."""
        return cls(path, read_record(path))

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Makes the folder, or clears it of what a kill left half written, and holds it against a second writer.

        Raises:
            ValueError: there is one, or another evaluation has begun there since `open`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with held(
            self.path,
            f"{self.path} is being written by another process: wait for it, or stop it",
        ):
            Folder.open(self.path, self.record)
            for half in self.path.glob(".*.parquet"):
                half.unlink(missing_ok=True)
            if not (self.path / "settings.json").exists():
                write_json(self.path / "settings.json", self.record)
            yield

    def save(self, first: int, samples: Sequence[Sample]) -> None:
        """Writes the samples of some problems in one step; `first` is the number of one of them in its benchmark."""
        name = f"{first:06d}.parquet"
        columns = zip(*samples, strict=True)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        half = self.path / f".{name}"
        with half.open("wb") as file:
            pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, self.path / name)

    def samples(self) -> dict[str, list[Sample]]:
        """All samples, by problem. ValueError naming a file that is damaged or not ours."""
        found: dict[str, list[Sample]] = {}
        wanted = list(range(self.record["samples"]))
        for file in sorted(self.path.glob("[0-9]*.parquet")):
            here: dict[str, list[Sample]] = {}
            for sample in _rows(file):
                here.setdefault(sample.id, []).append(sample)
            for key, rows in here.items():
                if key in found or [row.sample for row in rows] != wanted:
                    raise ValueError(
                        f"{file}: not {len(wanted)} samples of problem {key[:80]!r}, once: {_MEND}"
                    )
            found |= here
        return found


_MEND = "move the file away to have its problems sampled again"


def _rows(file: Path) -> list[Sample]:
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{file} can't be read ({first_line(error)}): {_MEND}"
        ) from None
    if not table.schema.equals(SCHEMA):
        raise ValueError(
            f"{file} has other columns than an evaluation's samples: {_MEND}"
        )
    return [
        Sample(*cast(Any, row))
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
    ]


def read_record(path: Path) -> dict[str, Any]:
    """settings.json of an evaluation's folder. ValueError for what is none."""
    try:
        record = json.loads((path / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if (
        not isinstance(record, dict)
        or record.get("format") != FORMAT
        or not isinstance(record.get("samples"), int)
    ):
        raise ValueError(
            f"{path} is no evaluation of entrostat's: give another --out, or a folder that evaluate made"
        )
    return record


def check_benchmark(folder: Folder, benchmark: Benchmark) -> dict[str, list[Sample]]:
    """The samples there are of the benchmark's problems. ValueError for those of other problems."""
    found = folder.samples()
    stray = found.keys() - {question.id for question in benchmark.questions}
    if stray:
        raise ValueError(
            f"{folder.path} has samples of problem {min(stray)[:80]!r}, which {benchmark.name} has not"
        )
    return found
