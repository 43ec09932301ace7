"""Plotly layouts: panels in rows, axes, and what is different on a narrow screen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from entrostat.report.figure import Specification, literal
from entrostat.report.look import GRID, INK, PAPER

PANEL_HEIGHT = 300
"""Pixels of a row of panels, without `MARGIN`."""
MARGIN = {"l": 62, "r": 12, "t": 34, "b": 84}
GAP_ACROSS = 0.1
"""Between panels, as a share of the figure's width."""
GAP_DOWN = 62 / PANEL_HEIGHT
"""Between rows, as a share of a row's height."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    """Over the panel; empty for a figure's only panel."""
    y: str
    """Title of its y axis."""
    tickformat: str = ""
    """d3's, of its y axis. Panels of one format have one range."""


def panel_axes(panel: int) -> Specification:
    """The axes of a trace in the panel of that number, from 0."""
    return {"xaxis": f"x{_suffix(panel)}", "yaxis": f"y{_suffix(panel)}"}


def axis_key(letter: str, panel: int) -> str:
    """The layout's name for the x or y axis of the panel of that number, from 0."""
    return f"{letter}axis{_suffix(panel)}"


def _suffix(panel: int) -> str:
    return "" if panel == 0 else str(panel + 1)


def log_axis(values: Sequence[int] | Sequence[float]) -> Specification:
    """A logarithmic axis with a tick at each of `values` alone."""
    # Plotly's own ticks would stand between the few x that have a point.
    names = [f"{value:g}" for value in values]
    return {"type": "log", "tickvals": list(values), "ticktext": names}


def layouts(
    panels: Sequence[Panel], x: str = "rollout"
) -> tuple[Specification, Specification]:
    """The layout of `panels`, and what of it is different on a narrow screen.

    Panels stand in two columns at most, on a narrow screen in one. `x` is the title of
    their x axes.
    """
    legend = {
        "orientation": "h",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "x": 0,
    }
    common = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": MARGIN,
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": PAPER, "font": {"color": INK}},
        "legend": legend,
        "showlegend": True,
        "uirevision": "keep",
    }
    # On a narrow screen a legend of a few lines would eat the figure. The page's own
    # boxes are the legend there.
    narrow = {"showlegend": False, "margin": MARGIN | {"b": 50}}
    columns = min(2, len(panels))
    return common | _grid(panels, columns, x), narrow | _grid(panels, 1, x)


def _grid(panels: Sequence[Panel], columns: int, x: str) -> Specification:
    """Height, axes and titles of `panels` in rows of `columns`."""
    rows = math.ceil(len(panels) / columns)
    # columns * width + (columns - 1) * gap = 1, and likewise for the rows, whose gap is
    # a share of their height
    width = (1 + GAP_ACROSS) / columns - GAP_ACROSS if columns > 1 else 1.0
    height = 1 / (rows * (1 + GAP_DOWN) - GAP_DOWN)
    titles: list[Specification] = []
    grid: Specification = {
        "height": round(PANEL_HEIGHT / height) + MARGIN["t"] + MARGIN["b"],
        "annotations": titles,
    }
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        left = column * (width + GAP_ACROSS)
        top = 1 - row * height * (1 + GAP_DOWN)
        is_lowest = i + columns >= len(panels)
        across = _axis(x if is_lowest else "", [left, left + width])
        down = _axis(panel.y, [max(top - height, 0.0), top])
        grid[axis_key("x", i)] = across | _x_axis(i)
        grid[axis_key("y", i)] = down | _y_axis(panels, i)
        if panel.title:
            titles.append(_panel_title(panel.title, left, top))
    return grid


def _x_axis(i: int) -> Specification:
    """What is special to the x axis of panel `i`: all have one range."""
    axis = {"anchor": panel_axes(i)["yaxis"], "zeroline": False}
    return axis | {"matches": "x"} if i else axis


def _y_axis(panels: Sequence[Panel], i: int) -> Specification:
    """What is special to the y axis of panel `i`.

    Axes of one unit have one range, so that sizes can be compared.
    """
    tickformat = panels[i].tickformat
    axis: Specification = {
        "anchor": panel_axes(i)["xaxis"],
        "rangemode": "tozero",
        "tickformat": tickformat,
    }
    first = [panel.tickformat for panel in panels].index(tickformat)
    if first != i:
        axis["matches"] = panel_axes(first)["yaxis"]
    return axis


def _axis(title: str, domain: list[float]) -> Specification:
    """An axis over the part `domain` of the figure, in shares of its size."""
    return {
        "title": {"text": literal(title), "standoff": 8, "font": {"size": 13}},
        "domain": domain,
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": INK,
        "zerolinewidth": 1,
    }


def _panel_title(title: str, x: float, y: float) -> Specification:
    """A title over the upper left corner (x, y) of a panel."""
    return {
        "text": literal(title),
        "showarrow": False,
        "font": {"size": 13},
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
    }
