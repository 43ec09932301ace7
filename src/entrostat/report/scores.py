"""Scores on held-out problems, as a run's files record them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrostat.report.untrusted import mapping, number, read_json

MOST_EVALUATIONS = 200
"""Evaluations in the course of a run; later ones are left out."""
_NAME = re.compile(r"(?:mean|pass)@[1-9][0-9]{0,5}")
_K = re.compile(r"[1-9][0-9]{0,5}")
_BETWEEN = re.compile(r"scores-([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True)
class Score:
    """A share of held-out answers or problems, in [0, 1]."""

    value: float
    low: float | None = None
    """Ends of its 95% interval; both are None where the run gave none."""
    high: float | None = None


PassAt = Mapping[int, Score]
"""pass@k by k, ascending."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation on held-out problems gave."""

    scores: Mapping[str, Score]
    """By name, mean@N and pass@N."""
    pass_at: PassAt


def evaluation(record: Any) -> Evaluation:
    """The scores in a record such as summary.json; none where it is no such record."""
    fields = mapping(record)
    scores = _scores(fields, _NAME)
    by_k = _scores(mapping(fields.get("pass@k")), _K)
    pass_at = {int(k): score for k, score in by_k.items()}
    return Evaluation(scores, dict(sorted(pass_at.items())))


def _scores(fields: Mapping[str, Any], name: re.Pattern[str]) -> dict[str, Score]:
    """The scores among `fields` whose keys match `name`."""
    scores: dict[str, Score] = {}
    for key, value in fields.items():
        score = _score(value) if name.fullmatch(key) else None
        if score is not None:
            scores[key] = score
    return scores


def _score(value: Any) -> Score | None:
    """A score from a number, or from an object that has its interval too."""
    fields = value if isinstance(value, dict) else {"value": value}
    middle = number(fields.get("value"))
    low = number(fields.get("low"))
    high = number(fields.get("high"))
    if middle is None:
        return None
    if low is None or high is None:
        return Score(middle)
    return Score(middle, low, high)


def read_between(path: Path, problems: list[str]) -> dict[int, Evaluation]:
    """Evaluations in the course of the run in `path`, by the rollouts done, ascending.

    They are in files such as scores-100.json.
    """
    files: dict[int, Path] = {}
    for file in path.iterdir():
        match = _BETWEEN.fullmatch(file.name)
        if match and file.is_file():
            files[int(match[1])] = file
    evaluations: dict[int, Evaluation] = {}
    for rollouts in sorted(files)[:MOST_EVALUATIONS]:
        record = read_json(files[rollouts], problems)
        if record is not None:
            evaluations[rollouts] = evaluation(record)
    return evaluations
