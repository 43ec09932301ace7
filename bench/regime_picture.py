"""The picture of docs/regime.md, docs/regime.svg, from docs/results/regime.json, for bench/regime.py.

Plotly draws it in headless Chromium (picture.py). It holds a digest of the numbers that it shows, by which
tests/test_bench_regime_picture.py notices one that is out of date.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from regime_fits import EPS, RATE
from regime_page import kl, part, responses, shares

PICTURE = Path(__file__).parent.parent / "docs" / "regime.svg"
KL, SHARE = (3e-5, 1e-3), (5e-4, 3e-3)
"""Of public runs of 1.5B to 7B models: KL a rollout, nats a token, and share of tokens that their clip takes."""
SERIES = {
    "drift": ("no clip: drift and noise", "#D55E00", "square"),
    "odd": (f"a clip at {EPS:g}: odd part, first order", "#0072B2", "circle"),
    "even": ("even part, second order", "#555555", "diamond"),
}
"""Label, colour (Okabe and Ito) and marker of each."""


class Mark(NamedTuple):
    """A point of the picture: a change of ln H a rollout and its interval."""

    panel: str
    """learning rate, responses or staleness."""
    x: float
    series: str
    """A key of SERIES."""
    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def ends(self, floor: float) -> tuple[float, float, float]:
        """Of the absolute value: itself and its interval, nothing under `floor`.

        >>> Mark("responses", 256, "odd", -0.25, -0.5, -0.125).ends(0.01)
        (0.25, 0.125, 0.5)
        >>> Mark("responses", 256, "odd", -0.25, -0.5, 0.125).ends(0.01)
        (0.25, 0.01, 0.5)
        """
        sizes = abs(self.low), abs(self.high)
        return max(abs(self.value), floor), max(min(sizes), floor) if self.sure else floor, max(*sizes, floor)


class Place(NamedTuple):
    """A cell on the learning rate's axis."""

    learning_rate: float
    kl: float
    share: float


def write(record: Mapping[str, Any]) -> None:
    """Draws it."""
    from picture import svg  # a browser's driver, which the tests have no need of

    drawn = svg(figure(record))
    PICTURE.write_text(drawn.replace("</svg>", f"<!-- {digest(record)} --></svg>") + "\n", encoding="utf-8")


def marks(record: Mapping[str, Any]) -> list[Mark]:
    """All points, with EPS as the threshold; the panels share the cell of 256 fresh responses at RATE."""
    chosen: dict[tuple[str, float], Mapping[str, Any]] = {}
    for cell in sorted(record["cells"], key=lambda each: each["point"]["updates_per_rollout"]):
        point, size = cell["point"], responses(cell)
        rate, stale, updates = point["learning_rate"], point["staleness"], point["updates_per_rollout"]
        if (size, updates, stale) == (256, 8, 0):
            chosen["learning rate", rate] = cell
        if (rate, stale) == (RATE, 0):
            chosen["responses", size] = cell  # of one batch the one with the most updates
        if (size, updates, rate) == (256, 8, RATE):
            chosen["staleness", stale] = cell
    out = []
    for (panel, x), cell in sorted(chosen.items(), key=lambda item: item[0]):
        parts = {"drift": cell["measured"]["drift"]} | {name: part(cell, name, EPS) for name in ("odd", "even")}
        out += [Mark(panel, x, name, *(found[end] for end in Mark._fields[3:])) for name, found in parts.items()]
    return out


def places(record: Mapping[str, Any]) -> list[Place]:
    """The cells of the first panel, by rising learning rate."""
    found = []
    for cell in record["cells"]:
        point = cell["point"]
        if (responses(cell), point["updates_per_rollout"], point["staleness"]) == (256, 8, 0):
            found.append(Place(point["learning_rate"], kl(cell), sum(shares(cell, EPS)) / 2))
    return sorted(found)


def where(points: Sequence[Place], value: float, name: str) -> float:
    """The learning rate at which `name`, kl or share, has the value: a power law between two cells, and beyond the
    ends that of the two cells there."""
    known = [getattr(point, name) for point in points]
    above = min(max(sum(each < value for each in known), 1), len(known) - 1)
    (a, x), (b, y) = ((known[i], points[i].learning_rate) for i in (above - 1, above))
    return x * (y / x) ** (math.log(value / a) / math.log(b / a))


def digest(record: Mapping[str, Any]) -> str:
    """Of all numbers that the picture shows."""
    drawn = json.dumps([EPS, KL, SHARE, places(record), marks(record)])
    return f"numbers: sha256 {hashlib.sha256(drawn.encode()).hexdigest()}"


FLOOR, TOP = 8e-6, 0.05
"""Of the axis of changes."""
_DODGE = {"drift": -1, "odd": 0, "even": 1}


def figure(record: Mapping[str, Any]) -> go.Figure:
    """Three panels on one axis of changes."""
    points, found = places(record), marks(record)
    panels = ("learning rate", "responses", "staleness")
    titles = ("Learning rate: 256 responses, fresh", f"Batch: at {_rate(RATE)}", f"Staleness: 256, at {_rate(RATE)}")
    fig = make_subplots(
        1, 3, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.02, column_widths=[0.5, 0.25, 0.25]
    )
    for column, panel in enumerate(panels, 1):
        mine = [mark for mark in found if mark.panel == panel]
        for series in SERIES:
            _draw(fig, column, [mark for mark in mine if mark.series == series])
        fig.update_xaxes(**_axis(panel, sorted({mark.x for mark in mine}), points, record), row=1, col=column)
    _public(fig, points)
    ticks = {"tickvals": [1e-5, 1e-4, 1e-3, 1e-2], "ticktext": ["0.001%", "0.01%", "0.1%", "1%"]}
    fig.update_yaxes(type="log", range=[math.log10(FLOOR), math.log10(TOP)], showgrid=True, **ticks)
    fig.update_yaxes(title="entropy moves by, a rollout (absolute)", row=1, col=1)
    fig.add_scatter(x=[None], y=[None], mode="markers", name="hollow: interval holds 0", marker=_marker("odd", False))
    fig.update_layout(
        template="plotly_white",
        width=1000,
        height=470,
        margin={"l": 75, "r": 10, "t": 75, "b": 75},
        legend={"orientation": "h", "x": -0.03, "y": 1.24, "font": {"size": 14}},
        font={"family": "system-ui, sans-serif", "size": 14, "color": "#111111"},
    )
    fig.update_annotations(selector={"yanchor": "bottom"}, font_size=15)
    return fig


def _draw(fig: go.Figure, column: int, mine: Sequence[Mark]) -> None:
    """One series of a panel: bars of its intervals, and markers, hollow where the interval holds 0."""
    bars: dict[str, list[float | None]] = {"x": [], "y": []}
    for mark in mine:
        _, low, high = mark.ends(FLOOR)
        bars["x"] += [_at(mark)] * 2 + [None]
        bars["y"] += [low, high, None]
    name, colour, _ = SERIES[mine[0].series]
    fig.add_scatter(**bars, mode="lines", line={"color": colour, "width": 2.5}, showlegend=False, row=1, col=column)
    if mine[0].series == "odd":  # the one whose way the eye is to follow
        way = {"x": [_at(mark) for mark in mine], "y": [mark.ends(1.25 * FLOOR)[0] for mark in mine], "mode": "lines"}
        fig.add_scatter(**way, line={"color": colour, "width": 6}, opacity=0.25, showlegend=False, row=1, col=column)
    for sure in (True, False):
        shown = [mark for mark in mine if mark.sure == sure]
        fig.add_scatter(
            x=[_at(mark) for mark in shown],
            y=[mark.ends(1.25 * FLOOR)[0] for mark in shown],
            mode="markers",
            marker=_marker(mine[0].series, sure),
            showlegend=False,
            row=1,
            col=column,
        )
    if column == 1:
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=_marker(mine[0].series, True))


def _marker(series: str, sure: bool) -> dict[str, Any]:
    _, colour, symbol = SERIES[series]
    return {"symbol": symbol, "size": 11, "color": colour if sure else "white", "line": {"color": colour, "width": 2.5}}


def _at(mark: Mark) -> float:
    """Its place, a little beside that of the other series."""
    if mark.panel == "staleness":
        return STALE.index(int(mark.x)) + 0.16 * _DODGE[mark.series]
    return mark.x * (1.13 if mark.panel == "learning rate" else 1.22) ** _DODGE[mark.series]


STALE = (0, 1, 2, 4)


def _axis(panel: str, at: Sequence[float], points: Sequence[Place], record: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "linecolor": "#999999",
        "ticks": "outside",
        "tickangle": 0,
    }
    if panel == "staleness":
        ticks = {"tickvals": list(range(len(STALE))), "ticktext": [str(each) for each in STALE]}
        return {**ticks, "range": [-0.5, len(STALE) - 0.5], "title": "rollouts behind", **plain}
    if panel == "responses":
        text = [f"{int(each):,}<br>({_most_updates(record, each)})" for each in at]
        edges, title = (at[0] / 2, at[-1] * 2), "responses (updates)"
    else:
        text = [f"{_rate(point.learning_rate)}<br>{_rate(float(f'{point.kl:.0e}'))}" for point in points]
        edges, title = (at[0] / 2.2, at[-1] * 1.5), "learning rate, below it KL a rollout"
    span = [math.log10(edge) for edge in edges]
    return {"type": "log", "tickvals": at, "ticktext": text, "range": span, "title": title, **plain}


def _most_updates(record: Mapping[str, Any], size: float) -> int:
    """Of the cells at RATE with so many fresh responses: that of the one that `marks` takes."""
    points = [cell["point"] for cell in record["cells"] if responses(cell) == size]
    return max(p["updates_per_rollout"] for p in points if (p["learning_rate"], p["staleness"]) == (RATE, 0))


def _rate(value: float) -> str:
    """As people write a learning rate.

    >>> _rate(6.25e-06), _rate(0.0001)
    ('6.25e-6', '1e-4')
    """
    digits, _, power = f"{value:e}".partition("e")
    return f"{float(digits):g}e{int(power)}"


def _public(fig: go.Figure, points: Sequence[Place]) -> None:
    """Where public runs lie on the first panel."""
    least = points[0].learning_rate / 2.2
    moved, clipped = (
        [max(where(points, end, name), least) for end in ends] for name, ends in (("kl", KL), ("share", SHARE))
    )
    fig.add_vrect(x0=moved[0], x1=moved[1], fillcolor="#F0E442", opacity=0.22, line_width=0, layer="below")
    texts = (
        (moved, TOP / 1.15, f"KL of public runs<br>{_rate(KL[0])} to {_rate(KL[1])}"),
        (clipped, TOP / 5, f"papers' clip share<br>{SHARE[0]:.2%} to {SHARE[1]:.1%}"),
    )
    for (start, end), y, text in texts:
        fig.add_scatter(
            x=[start, end],
            y=[y, y],
            mode="lines",
            line={"color": "#111111", "width": 3},
            showlegend=False,
            row=1,
            col=1,
        )
        middle = (math.log10(start) + math.log10(end)) / 2
        about = {"showarrow": False, "yanchor": "top", "font": {"size": 13}, "yshift": -2}
        fig.add_annotation(x=middle, y=math.log10(y), text=text, **about, row=1, col=1)
