"""The fields of a configuration that the doctor reads, checked, over the trainer's
defaults."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from entrostat.texts import did_you_mean

MAX_TEXT = 60
"""Characters of a value in a message."""
NOT_JUDGED = "what depends on it was not judged"
MAX_NAMES = 60
"""Names in one note."""
Kind = Literal[
    "count",
    "count?",
    "number",
    "number?",
    "pair?",
    "band?",
    "flag",
    "flag?",
    "word",
    "word?",
    "options?",
]
"""What a value must be; with a question mark it may be null."""
WANTED: Mapping[str, str] = {
    "count": "a whole number of at least 1",
    "number": "a number",
    "pair": "two numbers",
    "band": "a number or text",
    "flag": "true or false",
    "word": "text",
    "options": "a mapping",
}
"""What a message calls it."""
_TYPES: Mapping[str, type] = {"flag": bool, "word": str, "options": Mapping}


@dataclasses.dataclass(frozen=True)
class Settings:
    """A trainer's configuration. `values` and `defaults` have the same names, those that
    the doctor reads."""

    trainer: str
    """`trl`, `verl` or one of doctor/others.py."""
    version: str
    """Of the trainer whose defaults were filled in."""
    values: Mapping[str, Any]
    defaults: Mapping[str, Any]
    unsloth: str = ""
    """What shows that unsloth is in use; empty where nothing does."""
    notes: tuple[str, ...] = ()
    """What was not read, or is not known, a sentence each."""
    stale: str = ""
    """What shows that rollouts are of an older policy; empty where nothing does."""
    main: str = ""
    """The asynchronous main of verl's whose own values stand under what was given."""
    named: frozenset[str] = frozenset()
    """The settings that were given."""
    unknown: frozenset[str] = frozenset()
    """Settings that were given and whose value is not known: their defaults stand in
    `values`, and what depends on one is not judged."""
    misplaced: tuple[tuple[str, str], ...] = ()
    """Settings that stand where the trainer refuses them, each with the one meant."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def of(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of these names."""
        return {name: self.values[name] for name in names}

    def changed(self, name: str) -> bool:
        """Whether the value is another than the trainer's default."""
        return self.values[name] != self.defaults[name]


# Checked values


def checked(name: str, value: Any, kind: Kind, where: str = "") -> Any:
    """`value` as `kind`; numbers may be text, as YAML gives 1e-3.

    Raises ValueError, in one line, for a value of another kind. `where` stands before
    the name: the file.

    >>> checked("epsilon", "1e-3", "number"), checked("delta", None, "number?")
    (0.001, None)
    """
    nullable = kind.endswith("?")
    if value is None and nullable:
        return None
    plain_kind = kind.rstrip("?")
    try:
        return _converted(value, plain_kind)
    except (TypeError, ValueError, OverflowError):
        place = f"{where}: " if where else ""
        or_null = ", or null" if nullable else ""
        raise ValueError(
            f"{place}{name} must be {WANTED[plain_kind]}{or_null}, got {short(value)}"
        ) from None


def _converted(value: Any, kind: str) -> Any:
    """`value` as `kind`. TypeError, ValueError or OverflowError where it is none."""
    # to Python a truth value is an int
    if isinstance(value, bool) != (kind == "flag"):
        raise TypeError
    if kind == "count":
        number = int(value) if isinstance(value, str) else value
        if not isinstance(number, int) or number < 1:
            raise ValueError
        return number
    if kind == "number":
        number = float(value)
        if math.isnan(number):
            raise ValueError
        return number
    if kind == "band":
        # what it means is the trainer's own: 2.0, 0.5_5.0, or several
        return value if isinstance(value, str) else float(value)
    if kind == "pair":
        first, second = value.split() if isinstance(value, str) else value
        return float(first), float(second)
    if not isinstance(value, _TYPES[kind]):
        raise TypeError
    return value


# Texts


def short(value: Any) -> str:
    """A value in an error: on one line, of bounded length."""
    is_container = isinstance(value, dict | list | tuple | set)
    # repr would walk the whole of a large container
    large = is_container and len(value) >= 20
    text = type(value).__name__ if large else repr(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def near_name(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, without the list of all names, which is long.

    >>> near_name("epsilon_hgh", ["epsilon", "epsilon_high", "delta"])
    'did you mean epsilon_high or epsilon?'
    """
    return did_you_mean(name[:MAX_TEXT], sorted(known)).strip() or "no name is near"


def listed(names: Iterable[str], most: int = MAX_NAMES) -> str:
    """Names of a file, each once and of bounded length, and how many more there are.

    >>> listed(["b", "a", "b"]), listed(["a", "b"], most=1)
    ('b, a', 'a and 1 more')
    """
    once = list(dict.fromkeys(names))
    text = ", ".join(plain(name, 2 * MAX_TEXT) for name in once[:most])
    return text + (f" and {len(once) - most} more" if len(once) > most else "")


def plain(text: str, most: int | None = MAX_TEXT) -> str:
    """Text of a file as a terminal may have it: printable, and of bounded length.

    >>> plain("\\x1b[31mred")
    '?[31mred'
    """
    safe = "".join(c if c.isprintable() else "?" for c in text)
    return safe if most is None or len(safe) <= most else safe[: most - 3] + "..."


def unresolved(name: str, value: Any) -> str:
    """The note on a value that names what the file does not hold."""
    return f"{name} is {plain(str(value))}, which is not resolved: {NOT_JUDGED}"


def shown(values: Mapping[str, Any]) -> str:
    """Settings as words, by the last part of a dotted name.

    >>> shown({"epsilon": 0.3, "actor.use_vllm": True})
    'epsilon 0.3, use_vllm true'
    """
    parts = []
    for name, value in values.items():
        parts.append(f"{name.rpartition('.')[2]} {_text(value)}")
    return ", ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:g}"
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(value)
    # a file may hold anything, escape codes of a terminal too
    return text if len(text) <= MAX_TEXT and text.isprintable() else short(value)
