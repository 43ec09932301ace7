"""The heat map of response.jsonl.

It shows the predicted entropy change at every pair of clip thresholds, one rollout at a
time.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from entrostat.report.figure import (
    Choice,
    Figure,
    Specification,
    Table,
    digits,
    literal,
    short,
    spread,
)
from entrostat.report.layout import Panel, axis_key, layouts, panel_axes
from entrostat.report.look import SYMBOLS, Group, groups
from entrostat.report.maps import ResponseMap
from entrostat.report.read import Run

MOST_MAPS = 36
"""Of all panels and rollouts together: a page must not grow with its runs' length."""
# Okabe and Ito's blue and vermilion, which the colour-blind tell apart; one light
# middle for both colour schemes.
SCALE = ((0.0, "#0072B2"), (0.5, "#F7F7F7"), (1.0, "#D55E00"))
CAPTION = (
    "First-order entropy change of one rollout's updates, had other thresholds clipped "
    "the same tokens: per trained token, in nats per unit step in the logits. Blue "
    "lowers entropy, orange raises it. This is no forecast of another run: the ratios "
    "are this run's own, and under other thresholds they would differ from the next "
    "update on. White circle: the thresholds in force. Where these differ by token it "
    "stands at their mean over the tokens that they can clip, and its cell need not be "
    "what was kept. Made from a sample of tokens, without intervals; each rollout has "
    "its own range of colours."
)
LONGEST_TITLE = 36
"""Characters: what fits over a panel. The whole name is in the table and in the
alternative text."""


class Shown(NamedTuple):
    """A run that has a panel."""

    panel: int
    """Its number."""
    group: Group
    run: Run

    @property
    def last(self) -> int:
        """The step of its last map."""
        return max(self.run.maps)


class Cell(NamedTuple):
    """One pair of thresholds and its entropy change."""

    change: float
    """First, so that cells sort by it."""
    low: float
    high: float


def response(runs: Sequence[Run]) -> Figure | None:
    """The maps of each label's first run that has any; the reader picks the rollout.

    Each label has a panel.
    """
    shown: list[Shown] = []
    for group in groups(runs):
        for run in group.runs:
            if run.maps:
                shown.append(Shown(len(shown), group, run))
                break
    if not shown:
        return None
    steps: set[int] = set()
    caption = CAPTION
    for one in shown:
        steps.update(one.run.maps)
        if len(one.group.runs) > 1:
            caption = CAPTION + " Of several seeds, the first that has maps."
    most_steps = max(1, MOST_MAPS // len(shown))
    choices = []
    for step in spread(sorted(steps), most_steps):
        choices.append(_choice(shown, step))
    layout, narrow = _layouts(shown)
    last = choices[-1]
    return Figure(
        key="response",
        title="What other thresholds would have done",
        caption=caption,
        alt=last.alt,
        data=last.data,
        layout=layout | last.layout,
        narrow=narrow,
        table=_table(shown),
        choices=choices,
    )


def _choice(shown: Sequence[Shown], step: int) -> Choice:
    """The panels of one rollout; a run that has no map of it has an empty one."""
    traces = []
    sentences = []
    largest = 0.0
    for one in shown:
        if step not in one.run.maps:
            continue
        response_map = one.run.maps[step]
        traces += [_cells(one, response_map), _mark(one, response_map)]
        sentences.append(_sentence(one.run.name, step, response_map))
        for cell in _known_cells(response_map):
            largest = max(largest, abs(cell.change))
    # where nothing changes at all, any range shows 0 as the middle
    reach = largest or 1.0
    axis = {
        "colorscale": SCALE,
        "cmin": -reach,
        "cmax": reach,
        "colorbar": _colour_bar(),
    }
    start = "Heat map of entropy change by low and high threshold."
    alt = " ".join([start, *sentences])
    return Choice(f"rollout {step}", alt, traces, {"coloraxis": axis})


def _colour_bar() -> Specification:
    """A thin bar below all panels."""
    return {
        "orientation": "h",
        "thickness": 12,
        "len": 0.9,
        "yref": "container",
        "y": 0.0,
        "yanchor": "bottom",
        "tickformat": "~g",
        "outlinewidth": 0,
        "nticks": 7,
        "ticks": "outside",
    }


def _cells(shown: Shown, response_map: ResponseMap) -> Specification:
    """The map as a grid of colours, each cell with its numbers for the pointer."""
    texts = []
    for low, changes in zip(response_map.lows, response_map.change, strict=True):
        row = []
        for high, change in zip(response_map.highs, changes, strict=True):
            row.append(f"{_pair(low, high)}: {digits(change, 5)}")
        texts.append(row)
    return {
        "type": "heatmap",
        "z": [short(changes) for changes in response_map.change],
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "coloraxis": "coloraxis",
        "name": literal(shown.run.name),
        **_place(shown),
    }


def _mark(shown: Shown, response_map: ResponseMap) -> Specification:
    """The white circle at the thresholds in force."""
    low, high = _in_force(response_map)
    hover = f"in force: low {low}, high {high}; kept {digits(response_map.kept, 5)}"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [position(response_map.high, response_map.highs)],
        "y": [position(response_map.low, response_map.lows)],
        "marker": {
            "symbol": "circle",
            "size": 12,
            "color": "#ffffff",
            "line": {"color": "#000000", "width": 3},
        },
        "hovertemplate": f"{hover}<extra></extra>",
        "name": "in force",
        **_place(shown),
    }


def _place(shown: Shown) -> Specification:
    """Its panel, and the box that hides it."""
    legend = {"legendgroup": shown.group.key, "showlegend": False}
    return legend | panel_axes(shown.panel)


def position(threshold: float | None, grid: Sequence[float]) -> float:
    """Where `threshold` lies on an axis that gives each of `grid` one unit.

    Between two of them it lies by its logarithm, and beyond them at an end. None, which
    clips nothing, is at the upper end.

    >>> position(0.2, [0.1, 0.2, 0.4]), position(0.2, [0.1, 0.4])
    (1.0, 0.5)
    >>> position(-1.0, [0.1, 0.4]), position(None, [0.1, 1.0])
    (0.0, 1.0)
    """
    last = len(grid) - 1
    if threshold is None:
        return float(last)
    above = bisect_right(grid, threshold)
    if above == 0:
        return 0.0
    if above > last:
        return float(last)
    low, high = grid[above - 1], grid[above]
    if math.isinf(high):
        return above - 1 + (0.5 if threshold > low else 0.0)
    # log1p of the relative distance, which does not cancel where the two are close
    share = (threshold - low) / (high - low)
    if low > 1e-6:
        share = math.log1p((threshold - low) / low) / math.log1p((high - low) / low)
    return round(above - 1 + share, 3)


def _layouts(shown: Sequence[Shown]) -> tuple[Specification, Specification]:
    """Panels of cells of one size, with room for the colour bar.

    The axes are those of each run's last map: a run does not change its grid.
    """
    panels = []
    for one in shown:
        title = f"{SYMBOLS[one.group.symbol]} {_cut(one.run.name)}"
        panels.append(Panel(title, "low threshold"))
    layout, narrow = layouts(panels, x="high threshold")
    for axes in (layout, narrow):
        axes["showlegend"] = False
        axes["hovermode"] = "closest"
        axes["margin"] = axes["margin"] | {"b": 100}
        axes["height"] += 16
        for one in shown:
            response_map = one.run.maps[one.last]
            _name_cells(axes[axis_key("x", one.panel)], response_map.highs)
            _name_cells(axes[axis_key("y", one.panel)], response_map.lows)
    return layout, narrow


def _name_cells(axis: Specification, grid: Sequence[float]) -> None:
    """Makes the axis one of cells: every second one is named by its threshold."""
    # the grids of two panels may differ
    axis.pop("matches", None)
    every_second = range(0, len(grid), 2)
    axis |= {
        "tickvals": list(every_second),
        "ticktext": [_name(grid[i]) for i in every_second],
        "tickformat": "",
        "range": [-0.5, len(grid) - 0.5],
        "showgrid": False,
        "zeroline": False,
    }


def _cut(name: str) -> str:
    """What of a run's name fits over a panel."""
    return name if len(name) <= LONGEST_TITLE else name[:LONGEST_TITLE] + "…"


def _pair(low: float, high: float) -> str:
    return f"low {_name(low)}, high {_name(high)}"


def _name(threshold: float) -> str:
    """A threshold of the grid, as the reader would write it."""
    return "∞" if math.isinf(threshold) else f"{threshold:g}".replace("-", "−", 1)


def _in_force(response_map: ResponseMap) -> tuple[str, str]:
    """The low and the high threshold in force; "none" where nothing is clipped."""
    low, high = response_map.low, response_map.high
    return (
        "none" if low is None else digits(low),
        "none" if high is None else digits(high),
    )


def _known_cells(response_map: ResponseMap) -> list[Cell]:
    """The cells that have a number."""
    cells = []
    for low, changes in zip(response_map.lows, response_map.change, strict=True):
        for high, change in zip(response_map.highs, changes, strict=True):
            if change is not None:
                cells.append(Cell(change, low, high))
    return cells


def _sentence(name: str, step: int, response_map: ResponseMap) -> str:
    """What a map shows, in words."""
    low, high = _in_force(response_map)
    kept = digits(response_map.kept, 5)
    unclipped = digits(response_map.unclipped, 5)
    parts = [
        f"{name}, rollout {step}: in force low {low} and high {high}, "
        f"which kept {kept} of {unclipped}"
    ]
    cells = _known_cells(response_map)
    if cells:
        parts.append(f"lowest {_cell_text(min(cells))}")
        parts.append(f"highest {_cell_text(max(cells))}")
    return f"{'; '.join(parts)}."


def _cell_text(cell: Cell) -> str:
    return f"{digits(cell.change, 5)} at {_pair(cell.low, cell.high)}"


def _table(shown: Sequence[Shown]) -> Table:
    """The last map of each run, a row for each low threshold."""
    all_highs: set[float] = set()
    for one in shown:
        all_highs.update(one.run.maps[one.last].highs)
    highs = sorted(all_highs)
    rows = []
    for one in shown:
        response_map = one.run.maps[one.last]
        for low, changes in zip(response_map.lows, response_map.change, strict=True):
            by_high = dict(zip(response_map.highs, changes, strict=True))
            name = f"{one.run.name}, rollout {one.last}, low {_name(low)}"
            cells = [digits(by_high.get(high), 5) for high in highs]
            rows.append((name, *cells))
    head = [f"high {_name(high)}" for high in highs]
    return Table(("entropy change", *head), rows)
