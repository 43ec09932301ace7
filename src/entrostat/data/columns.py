"""Rows of a data set as problems and answers, by the names of their columns."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from entrostat.data.prompts import bare

ROLES = ("problem", "answer")


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
    """Every row as an Item. ValueError, with the row and the column, for one that lacks
    either."""
    items = []
    for number, row in enumerate(rows, 1):
        problem = _text(row, columns["problem"], where, number)
        answer = _text(row, columns["answer"], where, number)
        items.append(Item(bare(problem), answer))
    return items


def is_text(value: Any) -> bool:
    """Whether a column may hold it: text that is not blank, or a number."""
    # to Python True is a number
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return bool(str(value).strip())


def _text(row: Mapping[str, Any], column: str, where: str, number: int) -> str:
    value = _field(row, column, where)
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
    # half a character (a lone surrogate) could not be written or sent to a verifier
    return str(value).encode("utf-8", "replace").decode()


def _field(row: Mapping[str, Any], column: str, where: str) -> Any:
    """What stands in a column; "a.b" is the field b of column a."""
    value: Any = row
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(
                f"{where} has no column {column!r}, it has {', '.join(row)[:200]}: map "
                "with --columns problem=COLUMN,answer=COLUMN (a.b for a field b of "
                "column a)"
            )
        value = value[name]
    return value


def _last_turn(turns: list[Any]) -> Any:
    """The text of a conversation's last turn of the user; an answer in a list of one is
    that answer."""
    if len(turns) == 1 and not isinstance(turns[0], Mapping):
        return turns[0]
    for turn in reversed(turns):
        if isinstance(turn, Mapping) and turn.get("role") == "user":
            return turn.get("content")
    return None
