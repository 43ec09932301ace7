"""The samples of one benchmark on disk.

That is settings.json, and a Parquet file for each batch of problems. A file is written
whole or not at all, so after a kill at any moment the folder holds what was finished.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
"""The fields of `Sample`."""
MEND = "move the file away to have its problems sampled again"


class Sample(NamedTuple):
    """A row: one completion and its verdict."""

    id: str
    """The problem's."""
    sample: int
    """Its number among the problem's, from 0."""
    text: str
    tokens: int
    ended: bool
    entropy: float | None
    """These four as in `Drawn`."""
    answer: str | None
    """What the verifier takes for the answer; None where there is none."""
    score: float | None
    """1.0 right, 0.0 wrong, None where the verifier timed out or died."""
    error: str | None
    """What happened then."""


class Folder:
    """One benchmark's folder in an evaluation's."""

    def __init__(self, path: Path, record: dict[str, Any]):
        self.path = path
        self.record = record
        """What settings.json says."""

    @classmethod
    def open(cls, path: Path, record: dict[str, Any]) -> "Folder":
        """The folder of the evaluation that `record` describes; writes nothing.

        It is a new one, or the one to go on with.

        Raises:
            ValueError: it belongs to another evaluation, or to something else.
        """
        if is_taken(path):
            differ = differences(read_record(path), record)
            if differ:
                raise ValueError(
                    f"{path} holds another evaluation ({'; '.join(differ)}): "
                    "give another --out"
                )
        return cls(path, record)

    @classmethod
    def read(cls, path: Path) -> "Folder":
        """A folder that is there. ValueError for what is none."""
        return cls(path, read_record(path))

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Makes the folder and holds it against a second writer.

        Clears it of what a kill left half written.

        Raises:
            ValueError: there is a second writer, or another evaluation has begun there
                since `open`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        taken = (
            f"{self.path} is being written by another process: wait for it, or stop it"
        )
        with held(self.path, taken):
            Folder.open(self.path, self.record)
            for half in self.path.glob(".*.parquet"):
                half.unlink(missing_ok=True)
            if not (self.path / "settings.json").exists():
                write_json(self.path / "settings.json", self.record)
            yield

    def save(self, first: int, samples: Sequence[Sample]) -> None:
        """Writes the samples of some problems in one step.

        `first` is the number of one of these problems in the benchmark, which names the
        file.
        """
        rows = list(map(Sample._asdict, samples))
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        name = f"{first:06d}.parquet"
        half = self.path / f".{name}"
        with half.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, self.path / name)

    def samples(self) -> dict[str, list[Sample]]:
        """All samples, by problem. ValueError naming a file that is damaged."""
        samples: dict[str, list[Sample]] = {}
        for file in sorted(self.path.glob("[0-9]*.parquet")):
            of_file = _read_samples(file)
            self._check(file, of_file, known=samples)
            samples |= of_file
        return samples

    def _check(
        self,
        file: Path,
        samples: dict[str, list[Sample]],
        known: dict[str, list[Sample]],
    ) -> None:
        """Each problem must be in one file, with all its samples in order."""
        wanted = list(range(self.record["samples"]))
        for key, rows in samples.items():
            if key in known or [row.sample for row in rows] != wanted:
                raise ValueError(
                    f"{file}: not {len(wanted)} samples of problem {key[:80]!r}, "
                    f"once: {MEND}"
                )


def _read_samples(file: Path) -> dict[str, list[Sample]]:
    """The samples of a file, by problem. ValueError where it can't be read."""
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{file} can't be read ({first_line(error)}): {MEND}"
        ) from None
    if not table.schema.equals(SCHEMA):
        raise ValueError(
            f"{file} has other columns than an evaluation's samples: {MEND}"
        )
    samples: dict[str, list[Sample]] = {}
    for row in table.to_pylist():
        samples.setdefault(row["id"], []).append(Sample(**row))
    return samples


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
            f"{path} is no evaluation of entrostat's: "
            "give another --out, or a folder that evaluate made"
        )
    return record


def check_benchmark(folder: Folder, benchmark: Benchmark) -> dict[str, list[Sample]]:
    """The samples that the folder has, by problem.

    ValueError where one is of a problem that is not the benchmark's.
    """
    samples = folder.samples()
    stray = samples.keys() - {question.id for question in benchmark.questions}
    if stray:
        raise ValueError(
            f"{folder.path} has samples of problem {min(stray)[:80]!r}, "
            f"which {benchmark.name} has not"
        )
    return samples
