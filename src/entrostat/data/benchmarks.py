"""The papers' benchmarks by name, and a benchmark of one's own from a JSONL file.

Names, splits and columns are those of the hub's data sets, as public evaluation code
reads them: AIME 2024 and MATH-500 in the copies of HuggingFaceH4 (NeMo-RL's loader has
the first), AIME 2025 and AMC 2023 in those of math-ai, OlympiadBench's text-only
English competition problems (arXiv 2402.14008), GSM8K's test split (arXiv 2110.14168).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.data.columns import is_text
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


class BenchmarkSource(NamedTuple):
    """Where a benchmark is, and in which columns."""

    dataset: str
    split: str
    config: str | None = None
    """The hub's name for one of several parts."""
    id: str | None = "id"
    """Column; None: the row's number, from 0."""
    problem: str = "problem"
    """Column."""
    answer: str = "answer"
    """Column."""
    verifier: str = "math"
    """As in `Benchmark`."""
    prompt: str = "boxed"
    """As in `Benchmark`."""


BENCHMARKS: Mapping[str, BenchmarkSource] = MappingProxyType(
    {
        "aime24": BenchmarkSource("HuggingFaceH4/aime_2024", "train"),
        "aime25": BenchmarkSource("math-ai/aime25", "test"),
        "amc23": BenchmarkSource("math-ai/amc23", "test", id=None, problem="question"),
        "math-500": BenchmarkSource("HuggingFaceH4/MATH-500", "test", id="unique_id"),
        "gsm8k": BenchmarkSource(
            "openai/gsm8k",
            "test",
            config="main",
            id=None,
            problem="question",
            # the last number counts, as in 2509.26114's validation
            verifier="last-number",
            prompt="gsm8k",
        ),
        "olympiad": BenchmarkSource(
            "Hothan/OlympiadBench",
            "train",
            config="OE_TO_maths_en_COMP",
            problem="question",
            answer="final_answer",
        ),
    }
)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name, from the hub, or the one in that JSONL file, named by
    the file.

    A file has a JSON object per line with `id`, `problem` and `answer` (text or
    numbers; other columns don't matter) and is judged as boxed mathematics.

    Raises:
        ValueError: no such name or file, no hub to ask, a row without a column or with
            a wrong one, an id that comes twice, fewer than two problems.
    """
    if name in BENCHMARKS:
        source = BENCHMARKS[name]
        questions = _questions(_hub_rows(name, source), source, source.dataset)
        return Benchmark(name, questions, source.verifier, source.prompt)
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"--benchmark {name!r} is no file and none of {', '.join(BENCHMARKS)}: "
            "give a JSONL file"
        )
    source = BenchmarkSource(name, split="")
    questions = _questions(_file_rows(path), source, str(path))
    # the name becomes that of a folder
    stem = re.sub(r"[^\w.-]+", "-", path.stem).strip(".-") or "benchmark"
    return Benchmark(stem, questions, source.verifier, source.prompt, path)


def _questions(
    rows: Iterator[tuple[int, Any]], source: BenchmarkSource, where: str
) -> tuple[Question, ...]:
    """From rows with their numbers, which count from 1."""
    row_of: dict[str, int] = {}
    questions = []
    for row, columns in rows:
        if not isinstance(columns, dict):
            raise ValueError(
                f"{where}, row {row}: not a JSON object with id, problem and answer"
            )
        key = str(row - 1)
        if source.id is not None:
            key = _text(columns, source.id, where, row)
        if key in row_of:
            raise ValueError(
                f"{where}, row {row}: id {key[:80]!r} is that of row {row_of[key]} "
                "too: make ids unique"
            )
        row_of[key] = row
        problem = _text(columns, source.problem, where, row)
        answer = _text(columns, source.answer, where, row)
        questions.append(Question(key, problem, answer))
    if len(questions) < 2:
        raise ValueError(
            f"{where} has {len(questions)} problem(s): an interval over problems needs "
            "at least 2"
        )
    return tuple(questions)


def _text(columns: dict[str, Any], column: str, where: str, row: int) -> str:
    """A column's text; several answers (OlympiadBench) are one list of them."""
    if column not in columns:
        there = ", ".join(columns)[:200] or "none"
        raise ValueError(f"{where}, row {row}: no column {column!r}, it has {there}")
    value = columns[column]
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if not is_text(value):
        raise ValueError(
            f"{where}, row {row}: column {column!r} must be text or a number, got "
            f"{str(value)[:80]!r}"
        )
    text = str(value)
    if text.encode("utf-8", "replace").decode() != text:
        raise ValueError(
            f"{where}, row {row}: column {column!r} holds half a character (a lone "
            "surrogate)"
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
            # deep brackets end Python's stack
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{path}, row {number}: no JSON ({error}); give one object a line"
                ) from None
            yield number, columns


def _hub_rows(name: str, source: BenchmarkSource) -> Iterator[tuple[int, Any]]:
    """Each row with its number."""
    # loads slowly, and not every command reads a data set
    import datasets

    try:
        rows = datasets.load_dataset(source.dataset, source.config, split=source.split)
    except Exception as error:
        raise ValueError(
            f"--benchmark {name}: no {source.dataset!r} on the hub or in its cache "
            f"({first_line(error)}); "
            "offline, give a JSONL file with id, problem and answer"
        ) from None
    yield from enumerate(rows, 1)
