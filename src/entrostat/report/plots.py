"""The parts that figures are made of, as Plotly specifications: plain dicts, so that a page needs plotly.js alone.

Text goes into a specification through `literal`: plotly.js reads a subset of HTML in names and titles.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from entrostat.report.read import Run, Score

# Okabe and Ito's palette, safe for the colour-blind, less yellow (too faint on white) and black (the base model).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# A second code beside the colour, of another length, so that no pair comes back before 42 labels.
SYMBOLS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "cross": "✚",
    "x": "✖",
    "star": "★",
}
"""Plotly's name, and how the page's text shows it."""
INK = "var(--ink)"
"""Colours of this form are those of the page's scheme, light or dark; the page's script fills them in."""
GRID = "var(--line)"
PAPER = "var(--paper)"
BASE = "base"
"""The legend group of the base model."""

PANEL_HEIGHT = 300
"""Pixels of a row of panels, without `MARGIN`."""
MARGIN = {"l": 62, "r": 12, "t": 34, "b": 84}
GAPS = (0.1, 62 / PANEL_HEIGHT)
"""Between panels: the share of the figure's width, and the share of a row's height."""
MARKERS = 8
"""Markers along a line at most: they tell lines apart, they do not show each rollout."""
TABLE_ROWS = 11


@dataclass(frozen=True)
class Group:
    """The runs of one label, seeds of one experiment: one colour, one entry in each legend."""

    key: str
    label: str
    colour: str
    symbol: str
    """A key of `SYMBOLS`."""
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure, as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Choice:
    """One of several states of a figure, of which the reader picks one."""

    label: str
    alt: str
    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    """What of the layout is different in it."""


@dataclass(frozen=True)
class Figure:
    """A figure and what stands around it, as plain text (not escaped)."""

    key: str
    title: str
    caption: str
    alt: str
    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    narrow: Mapping[str, Any]
    """What of the layout is different on a narrow screen."""
    table: Table
    choices: tuple[Choice, ...] = ()
    """The states to pick from; `alt`, `data` and `layout` are those of the last."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    y: str
    tickformat: str = ""


@dataclass(frozen=True)
class Curve:
    """One kind of line: its number in each rollout is `key` in metrics.jsonl."""

    key: str
    panel: int = 0
    dash: str = "solid"
    note: str = ""
    """What stands beside the run's name where the line is not its panel's main one."""
    marks: bool = False
    """Open markers without a line, for what few rollouts have."""


def groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by label, in order, each label with its colour and marker."""
    by_label: dict[str, list[Run]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    symbols = list(SYMBOLS)
    return [
        Group(
            f"g{i}",
            label,
            COLOURS[i % len(COLOURS)],
            symbols[i % len(symbols)],
            tuple(members),
        )
        for i, (label, members) in enumerate(by_label.items())
    ]


def literal(plain: str) -> str:
    """`plain` so that plotly.js shows it as it stands."""
    return html.escape(plain, quote=False)


def digits(value: float | None, places: int = 3) -> str:
    """`value` for a reader, with a minus sign; an en dash for None, an exponent where the places would hide it.

    >>> digits(0.0841), digits(-2.5e-7), digits(0.0), digits(None)
    ('0.084', '−2.5e-07', '0.000', '–')
    """
    if value is None:
        return "–"
    hidden = value != 0 and not 10.0**-places <= abs(value) < 1e6
    return (f"{value:.2g}" if hidden else f"{value:.{places}f}").replace("-", "−", 1)


def interval(score: Score | None) -> str:
    """`0.520 [0.470, 0.570]`, without the bracket where there is no interval."""
    if score is None or score.low is None:
        return digits(None if score is None else score.value)
    return f"{digits(score.value)} [{digits(score.low)}, {digits(score.high)}]"


def mean_line(lines: Sequence[Mapping[int, float | None]]) -> dict[int, float | None]:
    """The mean of `lines` over the rollouts that all have; None where one of them has no value."""
    means: dict[int, float | None] = {}
    for step in lines[0]:
        if all(step in line for line in lines):
            values = [value for line in lines if (value := line[step]) is not None]
            means[step] = fmean(values) if len(values) == len(lines) else None
    return means


def trace(
    line: Mapping[int, float | None] | Mapping[float, float | None],
    key: str,
    name: str,
    colour: str,
    dash: str = "solid",
    *,
    thin: bool = False,
) -> dict[str, Any]:
    """A line of y by x, in the legend group `key` but not in the legend; `thin` for one seed among several."""
    look = (
        {"opacity": 0.4, "hoverinfo": "skip"}
        if thin
        else {"hovertemplate": "%{y:.4~g}"}
    )
    return look | {
        "type": "scatter",
        "x": list(line),
        "y": short(line.values()),
        "name": literal(name),
        "legendgroup": key,
        "showlegend": False,
        "mode": "lines",
        "line": {"color": colour, "width": 1 if thin else 2, "dash": dash},
    }


def band(scores: Mapping[int, Score], key: str, colour: str) -> list[dict[str, Any]]:
    """The intervals of `scores` as an area; nothing where fewer than two have one."""
    bounds = [
        (k, score.low, score.high)
        for k, score in scores.items()
        if score.low is not None
    ]
    if len(bounds) < 2:
        return []
    x = [k for k, _, _ in bounds]
    outline = [low for _, low, _ in bounds] + [high for _, _, high in reversed(bounds)]
    area = {
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": colour,
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "x": x + x[::-1],
        "y": short(outline),
        "legendgroup": key,
        "showlegend": False,
    }
    return [line | area]


def marked(
    group: Group, values: Sequence[float | None], sparse: bool
) -> dict[str, Any]:
    """Markers: on all points where one has no neighbour, since no line would show it, else a few if `sparse`."""
    padded = [None, *values, None]
    lone = any(
        here is not None and padded[i] is None and padded[i + 2] is None
        for i, here in enumerate(values)
    )
    if not lone and not sparse:
        return {}
    marker = {"symbol": group.symbol, "color": group.colour}
    marker |= {"size": 4} if lone else {"size": 7, "maxdisplayed": MARKERS}
    return {"mode": "lines+markers", "marker": marker}


def curves_figure(
    runs: Sequence[Run],
    key: str,
    title: str,
    caption: str,
    curves: Sequence[Curve],
    panels: Sequence[Panel],
) -> Figure | None:
    """A figure of `curves` against rollouts; None where no run has any of them."""
    grouped = groups(runs)
    data: list[dict[str, Any]] = []
    for group in grouped:
        traces = [one for curve in curves for one in _group_traces(group, curve)]
        if traces:
            next(one for one in traces if one.get("hoverinfo") != "skip")[
                "showlegend"
            ] = True
        data += traces
    if not data:
        return None
    if any(len(group.runs) > 1 for group in grouped):
        caption += " Thin: single seeds. Thick: their mean, over the rollouts that all of them have."
    layout, narrow = layouts(panels)
    alt = f"Line chart against rollouts. {_alt(runs, curves, panels)}"
    return Figure(
        key,
        title,
        caption,
        alt,
        tuple(data),
        layout,
        narrow,
        _table(runs, curves, panels),
    )


def _group_traces(group: Group, curve: Curve) -> list[dict[str, Any]]:
    suffix = _suffix(curve.panel)
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    note = f" ({curve.note})" if curve.note else ""
    lines = {
        run.name: dict(zip(run.rows, found, strict=True))
        for run in group.runs
        if (found := run.curve(curve.key))
    }
    if not lines:
        return []
    several = len(lines) > 1
    if curve.marks:
        look = {"mode": "markers", "opacity": 0.6 if several else 1}
        look |= {
            "marker": {
                "symbol": f"{group.symbol}-open",
                "size": 8,
                "color": group.colour,
            }
        }
        return [
            trace(_present(line), group.key, name + note, group.colour) | axes | look
            for name, line in lines.items()
        ]
    traces = [
        trace(line, group.key, name + note, group.colour, curve.dash, thin=True) | axes
        for name, line in lines.items()
        if several
    ]
    main = mean_line(list(lines.values())) if several else next(iter(lines.values()))
    look = marked(group, list(main.values()), sparse=not curve.note)
    return [
        *traces,
        trace(main, group.key, group.label + note, group.colour, curve.dash)
        | axes
        | look,
    ]


def layouts(
    panels: Sequence[Panel], x: str = "rollout"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The layout of `panels` in two columns at most, and what of it is different on a narrow screen."""
    common = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": MARGIN,
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": PAPER, "font": {"color": INK}},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
        },
        "showlegend": True,
        "uirevision": "keep",
    }
    # On a narrow screen a legend of a few lines would eat the figure; the page's own boxes are the legend there.
    narrow = {"showlegend": False, "margin": MARGIN | {"b": 50}}
    return common | _grid(panels, min(2, len(panels)), x), narrow | _grid(panels, 1, x)


def _grid(panels: Sequence[Panel], columns: int, x: str) -> dict[str, Any]:
    """Axes and titles of `panels` in rows of `columns`; those of one unit have one range, so that sizes can be
    compared."""
    rows = math.ceil(len(panels) / columns)
    across, down = 1 + GAPS[0], 1 + GAPS[1]
    width = (across / columns - GAPS[0]) if columns > 1 else 1.0
    height = 1 / (rows * down - GAPS[1])
    grid: dict[str, Any] = {
        "height": round(PANEL_HEIGHT / height) + MARGIN["t"] + MARGIN["b"],
        "annotations": [],
    }
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        left, top = column * (width + GAPS[0]), 1 - row * height * down
        last = i + columns >= len(panels)
        peer = next(
            j for j, other in enumerate(panels) if other.tickformat == panel.tickformat
        )
        axes = (
            _axis(x if last else "", [left, left + width]),
            _axis(panel.y, [max(top - height, 0.0), top]),
        )
        grid[f"xaxis{_suffix(i)}"] = (
            axes[0]
            | {"anchor": f"y{_suffix(i)}", "zeroline": False}
            | ({"matches": "x"} if i else {})
        )
        grid[f"yaxis{_suffix(i)}"] = (
            axes[1]
            | {
                "anchor": f"x{_suffix(i)}",
                "rangemode": "tozero",
                "tickformat": panel.tickformat,
            }
            | ({"matches": f"y{_suffix(peer)}"} if peer != i else {})
        )
        if panel.title:
            grid["annotations"].append(_panel_title(panel.title, left, top))
    return grid


def _axis(title: str, domain: list[float]) -> dict[str, Any]:
    lines = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": INK,
        "zerolinewidth": 1,
    }
    text = {"text": literal(title), "standoff": 8, "font": {"size": 13}}
    return {"title": text, "domain": domain, "automargin": True} | lines


def _panel_title(title: str, x: float, y: float) -> dict[str, Any]:
    place = {
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
    }
    return {"text": literal(title), "showarrow": False, "font": {"size": 13}} | place


def _suffix(panel: int) -> str:
    return "" if panel == 0 else str(panel + 1)


def _where(curve: Curve, panels: Sequence[Panel]) -> str:
    return ", ".join(part for part in (panels[curve.panel].title, curve.note) if part)


def _alt(runs: Sequence[Run], curves: Sequence[Curve], panels: Sequence[Panel]) -> str:
    sentences = []
    for run in runs:
        parts = []
        for curve in curves:
            seen = [value for value in run.curve(curve.key) if value is not None]
            if seen:
                parts.append(
                    f"{_where(curve, panels)} {digits(seen[0])} to {digits(seen[-1])}".strip()
                )
        if parts:
            sentences.append(f"{run.name}: {'; '.join(parts)}.")
    return " ".join(sentences)


def _table(
    runs: Sequence[Run], curves: Sequence[Curve], panels: Sequence[Panel]
) -> Table:
    """The curves at up to `TABLE_ROWS` rollouts, evenly spread, and those of marks where they are."""
    steps = sorted({step for run in runs for step in run.rows})
    chosen = set(spread(steps, TABLE_ROWS))
    for run in runs:
        for curve in curves:
            if curve.marks:
                line = _present(dict(zip(run.rows, run.curve(curve.key), strict=False)))
                chosen |= set(spread(list(line), TABLE_ROWS))
    columns = [(run, curve) for run in runs for curve in curves if run.curve(curve.key)]
    names = (
        ": ".join(part for part in (run.name, _where(curve, panels)) if part)
        for run, curve in columns
    )
    cells = (
        (
            str(step),
            *(digits(run.rows.get(step, {}).get(curve.key)) for run, curve in columns),
        )
        for step in sorted(chosen)
    )
    return Table(("rollout", *names), tuple(cells))


def _present(line: Mapping[int, float | None]) -> dict[int, float | None]:
    return {step: value for step, value in line.items() if value is not None}


def spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of `steps`, evenly spread from the first to the last; the last alone where one is asked for.

    >>> spread([0, 4, 8, 12, 16], 3), spread([0, 4], 3), spread([], 3), spread([0, 4], 1)
    ([0, 8, 16], [0, 4], [], [4])
    """
    if len(steps) <= most:
        return list(steps)
    return (
        [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
        if most > 1
        else [steps[-1]]
    )


def short(values: Iterable[float | None]) -> list[float | None]:
    """Six significant digits: more than a screen shows, and half the file."""
    return [None if value is None else float(f"{value:.6g}") for value in values]
