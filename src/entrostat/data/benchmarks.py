"""The papers' benchmarks by name, and a benchmark from a file.

Names, splits and columns are those of the hub's data sets, as public evaluation code
reads them: AIME 2024 and MATH-500 in the copies of HuggingFaceH4 (NeMo-RL's loader has
the first), AIME 2025 and AMC 2023 in those of math-ai, OlympiadBench's text-only
English competition problems (arXiv 2402.14008), GSM8K's test split (arXiv 2110.14168).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.data import hub
from entrostat.data.columns import field_of, text_of, typed_columns
from entrostat.data.layouts import NAMES, find_columns, find_layout
from entrostat.data.prompts import NO_WORDING, WORDING_OF, WORDINGS, bare
from entrostat.data.rows import file_rows
from entrostat.texts import did_you_mean, first_line, near
from entrostat.verify import check_verifier


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
    notes: tuple[str, ...] = ()
    """What the user is to know of how it was read, one line each."""


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


def load_benchmark(
    name: str, columns: str = "", verifier: str = "", wording: str = ""
) -> Benchmark:
    """The benchmark of that name, from the hub, or the one in that file.

    What a file's columns mean, how it is judged and worded is found by `data.layouts`
    where the other arguments don't say.

    Raises:
        ValueError: no such name or file, no hub to ask, a row without a column or with
            a wrong one, an id that comes twice, fewer than two problems.
    """
    if wording and wording not in WORDINGS:
        raise ValueError(f"--wording {wording!r}: {near(wording, WORDINGS)}")
    if verifier:
        check_verifier(verifier)
    path = Path(name).expanduser()
    if name in BENCHMARKS:
        if columns:
            raise ValueError(f"--benchmark {name} has its own columns: leave --columns")
        return _from_hub(name, verifier, wording)
    if not path.is_file():
        kind = "a folder, no file" if path.is_dir() else "no file"
        raise ValueError(
            f"--benchmark {name!r} is {kind} and none of {', '.join(BENCHMARKS)}: "
            f"{did_you_mean(name.rpartition('/')[2].lower(), BENCHMARKS)}give a "
            "JSONL or Parquet file"
        )
    return _from_file(path, columns, verifier, wording)


def _from_hub(name: str, verifier: str, wording: str) -> Benchmark:
    source = BENCHMARKS[name]
    columns = {"problem": source.problem, "answer": source.answer}
    if source.id is not None:
        columns["id"] = source.id
    questions = _questions(_hub_rows(name, source), columns, source.dataset)
    _check_number(questions, source.dataset)
    prompt = source.prompt
    if verifier:
        prompt = WORDING_OF[verifier]
    return Benchmark(
        name, tuple(questions), verifier or source.verifier, wording or prompt
    )


def _from_file(path: Path, typed: str, verifier: str, wording: str) -> Benchmark:
    told = typed_columns(typed, tuple(NAMES))
    rows = list(file_rows(path))
    where = str(path)
    first = rows[0][1] if rows else {}
    columns = find_columns(first if isinstance(first, dict) else {}, told)
    questions = _questions(rows, columns, where)
    notes = []
    whole = len(questions)
    if "id" not in columns:
        questions = _once(questions)
        if len(questions) < whole:
            repeated = whole - len(questions)
            notes.append(f"{repeated} of {whole} rows repeat a problem: left out")
    _check_number(questions, where)
    dicts = [row for _, row in rows]
    answers = [question.answer for question in questions]
    layout = find_layout(dicts, columns, answers, where, verifier, wording)
    notes.insert(0, f"read as {layout}")
    notes += _left_out(dicts, columns["problem"])
    if layout.prompt != NO_WORDING:
        # a wording that is there already comes off before ours goes on
        questions = [
            question._replace(problem=bare(question.problem)) for question in questions
        ]
    # the name becomes that of a folder
    stem = re.sub(r"[^\w.-]+", "-", path.stem).strip(".-") or "benchmark"
    return Benchmark(
        stem, tuple(questions), layout.verifier, layout.prompt, path, tuple(notes)
    )


def _questions(
    rows: Iterable[tuple[int, Any]], columns: Mapping[str, str], where: str
) -> list[Question]:
    """From rows with their numbers, which count from 1. Without a column of ids, the
    number from 0 is the id."""
    row_of: dict[str, int] = {}
    questions = []
    for row, cells in rows:
        if not isinstance(cells, dict):
            raise ValueError(
                f"{where}, row {row}: not a JSON object with id, problem and answer"
            )
        _check_text_alone(cells, where, row)
        key = str(row - 1)
        if "id" in columns:
            key = _text(cells, columns["id"], where, row)
        if key in row_of:
            raise ValueError(
                f"{where}, row {row}: id {key[:80]!r} is that of row {row_of[key]} "
                "too: make ids unique"
            )
        row_of[key] = row
        problem = _text(cells, columns["problem"], where, row)
        answer = _text(cells, columns["answer"], where, row)
        questions.append(Question(key, problem, answer))
    return questions


def _check_text_alone(cells: dict[str, Any], where: str, row: int) -> None:
    """ValueError for a row with a picture: OlympiadBench has image_1 to image_9, verl
    images."""
    for name, value in cells.items():
        if name.startswith("image") and value:
            raise ValueError(
                f"{where}, row {row}: has a picture (column {name!r}), and models are "
                "asked in text alone: leave such rows out"
            )


def _text(cells: dict[str, Any], column: str, where: str, row: int) -> str:
    text = text_of(cells, column, where, row)
    if text.encode("utf-8", "replace").decode() != text:
        raise ValueError(
            f"{where}, row {row}: column {column!r} holds half a character (a lone "
            "surrogate)"
        )
    return text


def _once(questions: list[Question]) -> list[Question]:
    """Each problem at its first place: verl's file of AIME 2024 has each 32 times."""
    seen = set()
    kept = []
    for question in questions:
        if question[1:] not in seen:
            seen.add(question[1:])
            kept.append(question)
    return kept


def _check_number(questions: Sequence[Question], where: str) -> None:
    if len(questions) < 2:
        raise ValueError(
            f"{where} has {len(questions)} problem(s): an interval over problems needs "
            "at least 2"
        )


def _left_out(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """What of conversations does not reach the model, as notes."""
    longer = 0
    for row in rows:
        turns = field_of(row, column)
        longer += isinstance(turns, list) and len(turns) > 1
    if not longer:
        return []
    return [
        f"{longer} conversations have more than one turn: the user's last is "
        "asked alone, a system prompt is left out"
    ]


def _hub_rows(name: str, source: BenchmarkSource) -> Iterator[tuple[int, Any]]:
    """Each row with its number."""
    why_not = hub.ask(source.dataset, "dataset")
    # loads slowly, and not every command reads a data set
    import datasets

    try:
        rows = datasets.load_dataset(source.dataset, source.config, split=source.split)
    except Exception as error:
        raise ValueError(
            f"--benchmark {name}: no {source.dataset!r} in the hub's cache, and "
            f"{why_not or first_line(error)}; offline, give its JSONL or Parquet file"
        ) from None
    yield from enumerate(rows, 1)
