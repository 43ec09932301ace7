"""The papers' benchmarks by name, and a benchmark of one's own from a JSONL file.

Names, splits and columns are those of the hub's data sets, as public evaluation code reads them: AIME 2024 and MATH-500
in the copies of HuggingFaceH4 (NeMo-RL's loader has the first), AIME 2025 and AMC 2023 in those of math-ai,
OlympiadBench's text-only English competition problems (arXiv 2402.14008), GSM8K's test split (arXiv 2110.14168).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.texts import first_line


class Question(NamedTuple):
    """A problem and its answer, as the verifier reads it."""

    id: str
    problem: str
    answer: str


@dataclass(frozen=True)
class Benchmark:
    """Questions, and how completions are asked for and judged."""

    name: str
    questions: tuple[Question, ...]
    verifier: str
    """A key of entrostat.verify.VERIFIERS."""
    prompt: str
    """The wording of its prompts: a key of entrostat.data.prompts.WORDINGS."""
    path: Path | None = None
    """The file that it was read from."""


class Source(NamedTuple):
    """Where a benchmark is, and in which columns."""

    dataset: str
    config: str | None
    split: str
    id: str | None
    """Column; None: the row's number."""
    problem: str
    answer: str
    verifier: str = "math"
    prompt: str = "boxed"


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "aime24": Source(
            "HuggingFaceH4/aime_2024", None, "train", "id", "problem", "answer"
        ),
        "aime25": Source("math-ai/aime25", None, "test", "id", "problem", "answer"),
        "amc23": Source("math-ai/amc23", None, "test", None, "question", "answer"),
        "math-500": Source(
            "HuggingFaceH4/MATH-500", None, "test", "unique_id", "problem", "answer"
        ),
        # the last number counts, as in 2509.26114's validation
        "gsm8k": Source(
            "openai/gsm8k",
            "main",
            "test",
            None,
            "question",
            "answer",
            "last-number",
            "gsm8k",
        ),
        "olympiad": Source(
            "Hothan/OlympiadBench",
            "OE_TO_maths_en_COMP",
            "train",
            "id",
            "question",
            "final_answer",
        ),
    }
)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name, from the hub, or the one in that JSONL file, named by the file.

    A file has a JSON object a line with `id`, `problem` and `answer` (text or numbers; other columns don't matter) and
    is judged as boxed mathematics.

    Raises:
        ValueError: no such name or file, no hub to ask, a row without a column or with a wrong one, an id that comes
            twice, fewer than two problems.
    """
    if name in SOURCES:
        source, path = SOURCES[name], None
        rows, where = _hub_rows(name, source), source.dataset
    else:
        source, path = Source(name, None, "", "id", "problem", "answer"), Path(name)
        if not path.is_file():
            raise ValueError(
                f"--benchmark {name!r} is no file and none of {', '.join(SOURCES)}: give a JSONL file"
            )
        rows, where = _file_rows(path), str(path)
    questions = tuple(_questions(rows, source, where))
    if len(questions) < 2:
        raise ValueError(
            f"{where} has {len(questions)} problem(s): an interval over problems needs at least 2"
        )
    stem = (
        re.sub(r"[^\w.-]+", "-", path.stem).strip(".-") or "benchmark" if path else name
    )
    return Benchmark(stem, questions, source.verifier, source.prompt, path)


def _questions(
    rows: Iterator[tuple[int, Any]], source: Source, where: str
) -> Iterator[Question]:
    seen: dict[str, int] = {}
    for row, columns in rows:
        if not isinstance(columns, dict):
            raise ValueError(
                f"{where}, row {row}: not a JSON object with id, problem and answer"
            )
        key = (
            str(row - 1) if source.id is None else _text(columns, source.id, where, row)
        )
        if key in seen:
            raise ValueError(
                f"{where}, row {row}: id {key[:80]!r} is that of row {seen[key]} too: make ids unique"
            )
        seen[key] = row
        yield Question(
            key,
            _text(columns, source.problem, where, row),
            _text(columns, source.answer, where, row),
        )


def _text(columns: dict[str, Any], column: str, where: str, row: int) -> str:
    """A column's text; several answers (OlympiadBench) are one list of them."""
    if column not in columns:
        raise ValueError(
            f"{where}, row {row}: no column {column!r}, it has {', '.join(columns)[:200] or 'none'}"
        )
    value = columns[column]
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or not str(value).strip()
    ):
        raise ValueError(
            f"{where}, row {row}: column {column!r} must be text or a number, got {str(value)[:80]!r}"
        )
    text = str(value)
    if not text.isascii() and text.encode("utf-8", "replace").decode() != text:
        raise ValueError(
            f"{where}, row {row}: column {column!r} holds half a character (a lone surrogate)"
        )
    return text


def _file_rows(path: Path) -> Iterator[tuple[int, Any]]:
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


def _hub_rows(name: str, source: Source) -> Iterator[tuple[int, Any]]:
    import datasets

    try:
        found = datasets.load_dataset(source.dataset, source.config, split=source.split)
    except Exception as error:
        said = first_line(error)
        raise ValueError(
            f"--benchmark {name}: no {source.dataset!r} on the hub or in its cache ({said}); "
            "offline, give a JSONL file with id, problem and answer"
        ) from None
    yield from enumerate(found, 1)
