"""What a figure consists of, and how its numbers and names are written."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from entrostat.report.scores import Score

T = TypeVar("T")
Specification = dict[str, Any]
"""A part of a Plotly figure. Plain dicts, so that a page needs plotly.js alone."""


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure, as text."""

    head: tuple[str, ...]
    """Names of the columns; the first names the rows."""
    rows: Sequence[tuple[str, ...]]


Look = Literal[
    "line", "dash", "dot", "thin", "rings", "ring", "small", "star", "bar", "band"
]
"""How a line or a mark looks, whatever its colour."""


class Style(NamedTuple):
    """An entry of a figure's key: colours are runs, and what else differs is here."""

    look: Look
    what: str


@dataclass(frozen=True)
class Choice:
    """One of several states of a figure, of which the reader picks one."""

    label: str
    """What the reader picks it by."""
    alt: str
    data: Sequence[Specification]
    layout: Specification
    """What of the layout is different in it."""


@dataclass(frozen=True)
class Figure:
    """A figure and what stands around it, as plain text (not escaped)."""

    key: str
    """Its name in the page's HTML, unique in a report."""
    title: str
    caption: str
    """What it shows and how to read it."""
    alt: str
    """What it shows in words, with its main numbers, for who can't see it."""
    data: Sequence[Specification]
    """Plotly's traces, each with a legendgroup: the key of its label's `Group`."""
    layout: Specification
    narrow: Specification
    """What of the layout is different on a narrow screen."""
    table: Table
    styles: Sequence[Style] = ()
    """What its line styles mean; empty where it has one alone."""
    is_curves: bool = False
    """Whether x is a step, in place of which tokens or time can stand, and y can be
    smoothed: such traces have a `meta` (curves.py)."""
    choices: Sequence[Choice] = ()
    """The states to pick from; `alt`, `data` and `layout` are those of the last."""


def literal(plain: str) -> str:
    """`plain` so that plotly.js shows it as it stands.

    plotly.js reads a subset of HTML in names and titles, so all text goes into a
    specification through here.
    """
    return html.escape(plain, quote=False)


def digits(value: float | None, places: int = 3) -> str:
    """`value` for a reader, with a minus sign; an en dash for None.

    An exponent where the places would hide it.

    >>> digits(0.0841), digits(-2.5e-7), digits(0.0), digits(None)
    ('0.084', '−2.5e-07', '0.000', '–')
    """
    if value is None:
        return "–"
    hidden = value != 0 and not 10.0**-places <= abs(value) < 1e6
    written = f"{value:.2g}" if hidden else f"{value:.{places}f}"
    return written.replace("-", "−", 1)


def bounds(score: Score) -> str:
    """`[0.470, 0.570]`, empty where there is no interval."""
    if score.low is None:
        return ""
    return f"[{digits(score.low)}, {digits(score.high)}]"


def interval(score: Score | None) -> str:
    """`0.520 [0.470, 0.570]`, without the bracket where there is no interval."""
    if score is None:
        return digits(None)
    return f"{digits(score.value)} {bounds(score)}".strip()


def short(values: Iterable[float | None]) -> list[float | None]:
    """Six significant digits: more than a screen shows, and half the file."""
    rounded = []
    for value in values:
        rounded.append(None if value is None else float(f"{value:.6g}"))
    return rounded


def distinct(values: Iterable[T | None]) -> list[T]:
    """The values that are not empty, each once, in order.

    It finds the base models: runs that started from one have the same scores before
    training.
    """
    seen: list[T] = []
    for value in values:
        if value and value not in seen:
            seen.append(value)
    return seen


def spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of `steps`, evenly spread from the first to the last.

    The last alone where one is asked for.

    >>> spread([0, 4, 8, 12, 16], 3), spread([0, 4], 3)
    ([0, 8, 16], [0, 4])
    >>> spread([0, 4], 1), spread([], 3)
    ([4], [])
    """
    if len(steps) <= most:
        return list(steps)
    if most == 1:
        return [steps[-1]]
    gap = (len(steps) - 1) / (most - 1)
    return [steps[round(i * gap)] for i in range(most)]
