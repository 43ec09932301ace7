"""The fields of a configuration that the doctor reads, checked, over the trainer's defaults."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from entrostat.texts import did_you_mean

Kind = Literal[
    "count", "count?", "number", "number?", "flag", "word", "word?", "options?"
]
WANTED: Mapping[Kind, str] = {
    "count": "a whole number of at least 1",
    "count?": "a whole number of at least 1, or null",
    "number": "a number",
    "number?": "a number, or null",
    "flag": "true or false",
    "word": "text",
    "word?": "text, or null",
    "options?": "a mapping, or null",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """A trainer's configuration. `values` and `defaults` have the same names, those that the doctor reads."""

    trainer: Literal["trl", "verl"]
    version: str
    """Of the trainer whose defaults were filled in."""
    values: Mapping[str, Any]
    defaults: Mapping[str, Any]
    unsloth: str = ""
    """What shows that unsloth is in use; empty where nothing does."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def changed(self, name: str) -> bool:
        """Whether the value is another than the trainer's default."""
        return self.values[name] != self.defaults[name]


def checked(name: str, value: Any, kind: Kind) -> Any:
    """`value` as `kind`; numbers may be text, as YAML gives 1e-3. ValueError, one line, for another.

    >>> checked("epsilon", "1e-3", "number"), checked("delta", None, "number?")
    (0.001, None)
    """
    if value is None and kind.endswith("?"):
        return None
    try:
        return _CHECKS[kind.rstrip("?")](value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be {WANTED[kind]}, got {short(value)}") from None


def short(value: Any) -> str:
    """A value in an error: on one line, of bounded length."""
    # a large container is cut before repr walks it
    text = (
        repr(value)
        if not isinstance(value, dict | list | tuple | set) or len(value) < 20
        else type(value).__name__
    )
    return text if len(text) <= 60 else text[:57] + "..."


def near_name(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, without the list of all names, which is long.

    >>> near_name("epsilon_hgh", ["epsilon", "epsilon_high", "delta"])
    'did you mean epsilon_high or epsilon?'
    """
    return did_you_mean(name[:60], sorted(known)).strip() or "no name is near"


def shown(values: Mapping[str, Any]) -> str:
    """Settings as words.

    >>> shown({"epsilon": 0.3, "use_vllm": True})
    'epsilon 0.3, use_vllm true'
    """
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    text = (
        f"{value:g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return short(value) if len(text) > 60 or not text.isprintable() else text


def _count(value: Any) -> int:
    if isinstance(value, str):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if math.isnan(number):
        raise ValueError
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _options(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return dict(value)


_CHECKS = {
    "count": _count,
    "number": _number,
    "flag": _flag,
    "word": _word,
    "options": _options,
}
