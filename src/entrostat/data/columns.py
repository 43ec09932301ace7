"""Rows of a data set as problems and answers, by the names of their columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from entrostat.data.prompts import bare

ROLES = ("problem", "answer")
MISSING = object()
"""In place of a field that a row has not."""


class Item(NamedTuple):
    """A problem without any wording around it, and its answer as the verifier reads
    it."""

    problem: str
    answer: str


def parse_columns(text: str) -> dict[str, str]:
    """The column of each role, by default one with the role's own name.

    >>> parse_columns("problem=question,answer=reward_model.ground_truth")
    {'problem': 'question', 'answer': 'reward_model.ground_truth'}

    Raises:
        ValueError: another role, or no name.
    """
    return {role: role for role in ROLES} | typed_columns(text, ROLES)


def typed_columns(text: str, roles: Sequence[str]) -> dict[str, str]:
    """The column of each role that --columns names. ValueError for another role, or no
    name."""
    columns = {}
    for part in text.split(",") if text else []:
        role, _, column = part.partition("=")
        if role not in roles or not column:
            form = ",".join(f"{role}=COLUMN" for role in roles)
            raise ValueError(f"--columns has {part!r}: write {form}")
        columns[role] = column
    return columns


def read_items(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], where: str
) -> list[Item]:
    """Every row as an Item. ValueError, with the row and the column, for one that lacks
    either."""
    items = []
    for number, row in enumerate(rows, 1):
        problem = text_of(row, columns["problem"], where, number)
        answer = text_of(row, columns["answer"], where, number)
        # half a character (a lone surrogate) could not be written or sent to a verifier
        problem = problem.encode("utf-8", "replace").decode()
        answer = answer.encode("utf-8", "replace").decode()
        items.append(Item(bare(problem), answer))
    return items


def is_text(value: Any) -> bool:
    """Whether a column may hold it: text that is not blank, or a number."""
    # to Python True is a number
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return bool(str(value).strip())


def text_of(row: Mapping[str, Any], column: str, where: str, number: int) -> str:
    """What a row has in a column, as text. ValueError, with both, where that is none.

    Of a conversation it is the last turn of the user; "a.b" is the field b of column a.
    """
    value = field_of(row, column)
    if value is MISSING:
        raise ValueError(
            f"{where}, row {number}: no column {column!r}, it has "
            f"{', '.join(row)[:200] or 'none'}: map with --columns "
            "problem=COLUMN,answer=COLUMN (a.b for a field b of column a)"
        )
    if isinstance(value, list):
        value = _last_turn(value)
    if not is_text(value):
        raise ValueError(
            f"{where}, row {number}: column {column!r} must hold text or a number, got "
            f"{str(value)[:80]!r}: choose another with --columns"
        )
    # one 3.5 in a column of numbers makes floats of the rest
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value)


def field_of(row: Mapping[str, Any], column: str) -> Any:
    """What a row has in a column, or in the field b of column a for "a.b"; `MISSING`
    where it has neither."""
    value: Any = row
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def _last_turn(turns: list[Any]) -> Any:
    """The text of a conversation's last turn of the user. An answer in a list of one is
    that answer, and several texts (OlympiadBench's answers) are one list of them."""
    if len(turns) == 1 and not isinstance(turns[0], Mapping):
        return turns[0]
    if turns and all(isinstance(turn, str) for turn in turns):
        return ", ".join(turns)
    for turn in reversed(turns):
        if isinstance(turn, Mapping) and turn.get("role") == "user":
            return turn.get("content")
    return None
