"""Rows of a data set as problems and answers, by the names of their columns."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from entrostat.data.prompts import bare

ROLES = ("problem", "answer")


class Item(NamedTuple):
    """A problem without any wording around it, and its answer as the verifier reads it."""

    problem: str
    answer: str


def parse_columns(text: str) -> dict[str, str]:
    """The column of each role, by default one of its own name.

    >>> parse_columns("problem=question,answer=reward_model.ground_truth")
    {'problem': 'question', 'answer': 'reward_model.ground_truth'}

    Raises:
        ValueError: another role, or no name.
    """
    columns = {role: role for role in ROLES}
    for part in text.split(",") if text else []:
        role, _, column = part.partition("=")
        if role not in ROLES or not column:
            raise ValueError(
                f"--columns has {part!r}: write problem=COLUMN,answer=COLUMN"
            )
        columns[role] = column
    return columns


def read_items(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], where: str
) -> list[Item]:
    """Every row as an Item. ValueError, with the row and the column, for one that lacks either."""
    return [
        Item(
            bare(_text(row, columns["problem"], where, number)),
            _text(row, columns["answer"], where, number),
        )
        for number, row in enumerate(rows, 1)
    ]


def _text(row: Mapping[str, Any], column: str, where: str, number: int) -> str:
    value: Any = row
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(
                f"{where} has no column {column!r}, it has {', '.join(row)[:200]}: "
                "map with --columns problem=COLUMN,answer=COLUMN (a.b for a field b of column a)"
            )
        value = value[name]
    if isinstance(value, list):
        value = _last_turn(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or not str(value).strip()
    ):
        raise ValueError(
            f"{where}, row {number}: column {column!r} must hold text or a number, got {str(value)[:80]!r}: "
            "choose another with --columns"
        )
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # one 3.5 in a column of numbers makes floats of the rest
    return str(value).encode("utf-8", "replace").decode()


def _last_turn(turns: list[Any]) -> Any:
    """The text of a conversation's last turn of the user; answers in a list of one are that one."""
    if len(turns) == 1 and not isinstance(turns[0], Mapping):
        return turns[0]
    texts = [
        turn.get("content")
        for turn in turns
        if isinstance(turn, Mapping) and turn.get("role") == "user"
    ]
    return texts[-1] if texts else None
