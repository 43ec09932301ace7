"""What is read from a run's folder, where nothing is trusted.

A report is made of files that a run left behind, perhaps in the middle of a line, and
that anybody may have edited. So a value of the wrong type counts as missing, a line
that is no JSON object is counted and skipped, and text is bounded in length and freed
of characters that reorder or hide what stands beside them.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

LONGEST_LINE = 1 << 20
"""Characters of a line of a JSONL file; a longer one is skipped."""
LARGEST_JSON = 1 << 22
"""Characters of config.json or summary.json; a larger one is not read."""
LARGEST_INTEGER = 1 << 53
"""Up to here a float holds every integer exactly."""
LONGEST_TEXT = 500
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format, surrogate, line and paragraph separator."""


def number(value: Any) -> float | None:
    """`value` as a finite float, None when it is anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def integer(value: Any) -> int | None:
    """`value` as an int of at most 2^53 in size, None when it is anything else."""
    value = number(value)
    if value is None or not value.is_integer() or abs(value) > LARGEST_INTEGER:
        return None
    return int(value)


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any, limit: int = LONGEST_TEXT) -> str:
    """`value` as text that is safe to show, cut to `limit` characters.

    It is not escaped, so it is not safe to embed. Control and format characters (among
    them those that turn the reading direction) and lone surrogates become U+FFFD.

    >>> text(0.0001), text(True), text("a\\u202eb")
    ('0.0001', 'true', 'a\ufffdb')
    """
    # one character more than is kept, to see that some are cut
    plain = _plain(value)[: limit + 1]
    visible = "".join(map(_visible, plain))
    return visible if len(visible) <= limit else visible[:limit] + "…"


def _plain(value: Any) -> str:
    if isinstance(value, str | float):
        return str(value)
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "…"


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in INVISIBLE
    return "\ufffd" if hidden else character


def read_json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The JSON object in a file. None where there is none.

    `problems` then has a line more.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            problems.append(
                f"{path.name} is over {LARGEST_JSON} characters and was not read"
            )
            return None
        value = json.loads(content)
    except OSError as error:
        problems.append(f"{path.name} can't be read ({error.strerror})")
        return None
    except (ValueError, RecursionError):
        problems.append(f"{path.name} is not valid JSON")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name} holds no JSON object")
        return None
    return value


def read_by_step(
    path: Path, parse: Callable[[dict[str, Any]], T | None]
) -> tuple[dict[int, T], int]:
    """What `parse` makes of the lines of a JSONL file, by their "step", ascending.

    Of two lines of one step the later one counts: a run that resumed wrote it again.
    The second result is the number of lines that are cut, have no step, or that
    `parse` gives None for. Raises OSError where the file can't be read.
    """
    by_step: dict[int, T] = {}
    skipped = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in _lines(file):
            fields = _object(line)
            step = integer(fields.get("step"))
            parsed = None
            if step is not None and 0 <= step < LARGEST_INTEGER:
                parsed = parse(fields)
                if parsed is not None:
                    by_step[step] = parsed
            if parsed is None and line.strip():
                skipped += 1
    return dict(sorted(by_step.items())), skipped


def read_steps(
    path: Path, parse: Callable[[dict[str, Any]], T | None], problems: list[str]
) -> dict[int, T]:
    """`read_by_step` of a file that a run may lack; none where there is no file.

    `problems` has a line more where it can't be read, or not all of it.
    """
    if not path.is_file():
        return {}
    try:
        by_step, skipped = read_by_step(path, parse)
    except OSError as error:
        problems.append(f"{path.name} can't be read ({error.strerror})")
        return {}
    if skipped:
        lines = "line" if skipped == 1 else "lines"
        problems.append(f"{skipped} {lines} of {path.name} cut or unreadable, skipped")
    return by_step


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of `file`, each cut to `LONGEST_LINE` characters.

    What is left of a longer line is no whole JSON, so it is skipped like a broken one.
    """
    while line := file.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = file.readline(LONGEST_LINE)


def _object(line: str) -> dict[str, Any]:
    try:
        return mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}
