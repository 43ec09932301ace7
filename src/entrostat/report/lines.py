"""Lines and areas of line charts, as Plotly specifications."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypeVar

from entrostat.report.figure import Specification, literal, short
from entrostat.report.look import BASE, INK, Group
from entrostat.report.scores import Score

Line = Mapping[int, float | None] | Mapping[float, float | None]
"""y by x; a None leaves a gap."""
X = TypeVar("X", int, float)


def trace(
    line: Line,
    key: str,
    name: str,
    colour: str,
    dash: str = "solid",
    *,
    thin: bool = False,
) -> Specification:
    """A line in the legend group `key`, but not in the legend.

    Args:
        line: y by x.
        key: the legend group.
        name: what the pointer shows beside the number, as plain text.
        dash: Plotly's name of a dash.
        thin: for one seed among several, which the pointer does not find.
    """
    if thin:
        look: Specification = {"opacity": 0.4, "hoverinfo": "skip"}
    else:
        look = {"hovertemplate": "%{y:.4~g}"}
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


def base_trace(line: Line) -> Specification:
    """The base model's line."""
    return trace(line, BASE, "base model", INK, "dash")


def seed_traces(
    group: Group, lines: Mapping[str, Line], dash: str = "solid", note: str = ""
) -> list[Specification]:
    """The lines of a label's runs, and last the one that stands for the label.

    That is their mean, and they are thin beside it; a single run stands for itself.

    Args:
        lines: by the runs' names.
        note: what stands behind the names.
    """
    if not lines:
        return []
    traces = []
    if len(lines) > 1:
        for name, line in lines.items():
            seed = trace(line, group.key, name + note, group.colour, dash, thin=True)
            traces.append(seed)
    mean = mean_line(list(lines.values()))
    traces.append(trace(mean, group.key, group.label + note, group.colour, dash))
    return traces


def mean_line(lines: Sequence[Mapping[X, float | None]]) -> dict[X, float | None]:
    """The mean of `lines` over the x that all have.

    It is None where one of them has no value.
    """
    means: dict[X, float | None] = {}
    for x in lines[0]:
        values = [line[x] for line in lines if x in line]
        if len(values) < len(lines):
            continue
        known = [value for value in values if value is not None]
        # a mean over fewer seeds would make a step where one seed has a gap
        means[x] = fmean(known) if len(known) == len(values) else None
    return means


def with_markers(symbol: str, colour: str) -> Specification:
    """What makes a line one with a marker on each point."""
    marker = {"symbol": symbol, "size": 7, "color": colour}
    return {"mode": "lines+markers", "marker": marker}


def band(scores: Mapping[int, Score], key: str, colour: str) -> Specification | None:
    """The intervals of `scores` as an area; None where fewer than two have one.

    Args:
        scores: by x, ascending.
        key: the legend group.
    """
    ks = []
    lows = []
    highs = []
    for k, score in scores.items():
        if score.low is not None:
            ks.append(k)
            lows.append(score.low)
            highs.append(score.high)
    if len(ks) < 2:
        return None
    # along the lower ends, and back along the upper ones
    return {
        "type": "scatter",
        "x": ks + ks[::-1],
        "y": short(lows + highs[::-1]),
        "legendgroup": key,
        "showlegend": False,
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": colour,
        "hoverinfo": "skip",
    }
