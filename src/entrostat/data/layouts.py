"""What the columns of a benchmark's file mean: found by the names that published files
have, or told.

Names are those of HuggingFaceH4/aime_2024 and MATH-500, Maxwell-Jia/AIME_2024 (in
capitals), math-ai's copies (aime24 has its answers boxed in `solution`), openai/gsm8k,
Hothan/OlympiadBench, and of the Parquet files that verl reads, DAPO-Math-17k among
them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.data.columns import MISSING, field_of
from entrostat.data.prompts import NO_WORDING, WORDING_OF
from entrostat.verify import is_solution

GROUND_TRUTH = "reward_model.ground_truth"
"""verl's answer."""
NAMES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "id": ("id", "ID", "unique_id"),
        "problem": ("problem", "Problem", "question", "prompt"),
        "answer": (GROUND_TRUTH, "answer", "Answer", "final_answer", "solution"),
    }
)
"""Columns of each role; the first that is there is taken."""

_VERL_JUDGES: Mapping[str, str] = MappingProxyType(
    {
        "openai/gsm8k": "gsm8k",
        "math_dapo": "dapo",
        "math": "dapo",
        "math_dapo_reasoning": "dapo",
        "lighteval/MATH": "math",
        "DigitalLearningGmbH/MATH-lighteval": "math",
        "HuggingFaceH4/MATH-500": "math",
    }
)
"""The verifier of each `data_source`, as verl's default_compute_score chooses; besides,
those that begin with "aime" are dapo's."""


class Layout(NamedTuple):
    """How a file's rows are read."""

    columns: Mapping[str, str]
    """Of "problem", of "answer", and of "id" where there is one."""
    verifier: str
    prompt: str
    """Both as in `Benchmark`."""

    def __str__(self) -> str:
        named = [f"{role}={column}" for role, column in self.columns.items()]
        return f"{','.join(named)}; verifier {self.verifier}; wording {self.prompt}"


def find_columns(row: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, str]:
    """The column of each role: the one that was told, or a known one of the first
    row."""
    columns = {}
    for role, names in NAMES.items():
        there = [name for name in names if field_of(row, name) is not MISSING]
        if role in told:
            columns[role] = told[role]
        elif there:
            columns[role] = there[0]
        elif role != "id":
            # the reader says that it is not there, and what is
            columns[role] = role
    return columns


def find_layout(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    answers: Sequence[str],
    where: str,
    verifier: str = "",
    wording: str = "",
) -> Layout:
    """How the rows are judged and worded, where `verifier` and `wording` don't say.

    A conversation goes to the model as it is: its wording is in it. ValueError for a
    `data_source` of verl's that no verifier is known for.
    """
    if not verifier:
        verifier = _verifier(rows, columns, answers, where)
    if not wording:
        is_conversation = isinstance(field_of(rows[0], columns["problem"]), list)
        wording = NO_WORDING if is_conversation else WORDING_OF[verifier]
    return Layout(columns, verifier, wording)


def _verifier(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    answers: Sequence[str],
    where: str,
) -> str:
    if columns["answer"] == GROUND_TRUTH:
        sources = {str(row.get("data_source")) for row in rows}
        judges = {_judge(source) for source in sources}
        if len(judges) > 1 or None in judges:
            raise ValueError(
                f"{where}: which verifier judges data_source "
                f"{', '.join(sorted(sources))[:200]} is not known: name one with "
                "--verifier"
            )
        return str(judges.pop())
    if all(map(is_solution, answers)):
        # the last number counts, as in the benchmark gsm8k
        return "last-number"
    return "math"


def _judge(source: str) -> str | None:
    return "dapo" if source.startswith("aime") else _VERL_JUDGES.get(source)
