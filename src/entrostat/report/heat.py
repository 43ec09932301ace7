"""The heat map of response.jsonl: predicted entropy change at every pair of clip thresholds, a rollout at a time."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from entrostat.report.plots import (
    SYMBOLS,
    Choice,
    Figure,
    Group,
    Panel,
    Table,
    digits,
    groups,
    layouts,
    literal,
    short,
    spread,
)
from entrostat.report.read import ResponseMap, Run

MOST_MAPS = 36
"""Of all panels and rollouts together: a page must not grow with the length of its runs."""
# Okabe and Ito's blue and vermilion, which the colour-blind tell apart; one light middle for both colour schemes
SCALE = ((0.0, "#0072B2"), (0.5, "#F7F7F7"), (1.0, "#D55E00"))
CAPTION = (
    "First-order entropy change of one rollout's updates, had other thresholds clipped the same tokens: per trained "
    "token, in nats per unit step in the logits. Blue lowers entropy, orange raises it. This is no forecast of another "
    "run: the ratios are this run's own, and under other thresholds they would differ from the next update on. White "
    "circle: the thresholds in force. Where these differ by token it stands at their mean over the tokens that they "
    "can clip, and its cell need not be what was kept. Made from a sample of tokens, without intervals; each rollout "
    "has its own range of colours."
)
LONGEST_TITLE = 36
"""Characters: what fits over a panel. The whole name is in the table and in the alternative text."""


def response(runs: Sequence[Run]) -> Figure | None:
    """The maps of each label's first run that has any, a panel each; the reader picks the rollout."""
    shown = [
        (group, run)
        for group in groups(runs)
        if (run := next((r for r in group.runs if r.maps), None))
    ]
    if not shown:
        return None
    steps = spread(
        sorted({step for _, run in shown for step in run.maps}),
        max(1, MOST_MAPS // len(shown)),
    )
    choices = tuple(_choice(shown, step) for step in steps)
    layout, narrow = _layouts(shown)
    last = choices[-1]
    caption = CAPTION
    if any(len(group.runs) > 1 for group, _ in shown):
        caption += " Of several seeds, the first that has maps."
    return Figure(
        "response",
        "What other thresholds would have done",
        caption,
        last.alt,
        last.data,
        {**layout, **last.layout},
        narrow,
        _table([run for _, run in shown]),
        choices,
    )


def _choice(shown: Sequence[tuple[Group, Run]], step: int) -> Choice:
    found = [
        (i, group, run, run.maps[step])
        for i, (group, run) in enumerate(shown)
        if step in run.maps
    ]
    sizes = [
        abs(value)
        for *_, one in found
        for row in one.change
        for value in row
        if value is not None
    ]
    # 0 where nothing changes at all: any range shows it as the middle
    most = max(sizes, default=0.0) or 1.0
    bar = {
        "orientation": "h",
        "thickness": 12,
        "len": 0.9,
        "yref": "container",
        "y": 0.0,
        "yanchor": "bottom",
    }
    bar |= {"tickformat": "~g", "outlinewidth": 0, "nticks": 7, "ticks": "outside"}
    axis = {"colorscale": SCALE, "cmin": -most, "cmax": most, "colorbar": bar}
    data = [
        trace
        for i, group, run, one in found
        for trace in (_cells(i, group, run, one), _mark(i, group, one))
    ]
    alt = "Heat map of entropy change by low and high threshold. " + " ".join(
        _alt(run.name, step, one) for _, _, run, one in found
    )
    return Choice(f"rollout {step}", alt, tuple(data), {"coloraxis": axis})


def _cells(panel: int, group: Group, run: Run, one: ResponseMap) -> dict[str, Any]:
    said = [
        [
            f"{_pair(low, high)}: {digits(value, 5)}"
            for high, value in zip(one.highs, row, strict=True)
        ]
        for low, row in zip(one.lows, one.change, strict=True)
    ]
    return {
        "type": "heatmap",
        "z": [short(row) for row in one.change],
        "text": said,
        "hovertemplate": "%{text}<extra></extra>",
        "coloraxis": "coloraxis",
        "name": literal(run.name),
        **_place(panel, group),
    }


def _mark(panel: int, group: Group, one: ResponseMap) -> dict[str, Any]:
    said = f"in force: low {_force(one.low)}, high {_force(one.high)}; kept {digits(one.kept, 5)}"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [position(one.high, one.highs)],
        "y": [position(one.low, one.lows)],
        "marker": {
            "symbol": "circle",
            "size": 12,
            "color": "#ffffff",
            "line": {"color": "#000000", "width": 3},
        },
        "hovertemplate": f"{said}<extra></extra>",
        "name": "in force",
        **_place(panel, group),
    }


def _place(panel: int, group: Group) -> dict[str, Any]:
    suffix = "" if panel == 0 else str(panel + 1)
    return {
        "legendgroup": group.key,
        "showlegend": False,
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
    }


def position(threshold: float | None, grid: Sequence[float]) -> float:
    """Where `threshold` lies on an axis that gives each of `grid` one unit: between two by its logarithm, at an end
    where it is beyond it. None, which clips nothing, is at the upper end.

    >>> position(0.2, [0.1, 0.2, 0.4]), position(0.2, [0.1, 0.4]), position(-1.0, [0.1, 0.4]), position(None, [1.0])
    (1.0, 0.5, 0.0, 0.0)
    """
    last = len(grid) - 1
    above = last + 1 if threshold is None else bisect_right(grid, threshold)
    if threshold is None or not 0 < above <= last:
        return float(last if above else 0)
    low, high = grid[above - 1], grid[above]
    if math.isinf(high):
        return above - 1 + (0.5 if threshold > low else 0.0)
    reach, way = high - low, threshold - low
    share = (
        math.log1p(way / low) / math.log1p(reach / low) if low > 1e-6 else way / reach
    )
    return round(above - 1 + share, 3)


def _layouts(
    shown: Sequence[tuple[Group, Run]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Panels of cells of one size; each axis has the names of its own panel's thresholds, every second one."""
    panels = [
        Panel(f"{SYMBOLS[group.symbol]} {_cut(run.name)}", "low threshold")
        for group, run in shown
    ]
    both = layouts(panels, x="high threshold")
    for axes in both:
        axes |= {
            "showlegend": False,
            "hovermode": "closest",
            "margin": axes["margin"] | {"b": 100},
        }
        axes["height"] += 16
        for i, (_, run) in enumerate(shown):
            _, one = _last(run)
            for letter, grid in (("x", one.highs), ("y", one.lows)):
                axis = axes[f"{letter}axis{'' if i == 0 else i + 1}"]
                axis.pop("matches", None)
                ticks = list(range(0, len(grid), 2))
                axis |= {
                    "tickvals": ticks,
                    "ticktext": [_name(grid[k]) for k in ticks],
                    "showgrid": False,
                }
                axis |= {
                    "range": [-0.5, len(grid) - 0.5],
                    "zeroline": False,
                    "tickformat": "",
                }
    return both


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_TITLE else name[:LONGEST_TITLE] + "…"


def _last(run: Run) -> tuple[int, ResponseMap]:
    step = max(run.maps)
    return step, run.maps[step]


def _pair(low: float, high: float) -> str:
    return f"low {_name(low)}, high {_name(high)}"


def _name(threshold: float) -> str:
    return "∞" if math.isinf(threshold) else f"{threshold:g}".replace("-", "−", 1)


def _force(threshold: float | None) -> str:
    return "none" if threshold is None else digits(threshold)


def _alt(name: str, step: int, one: ResponseMap) -> str:
    cells = [
        (value, low, high)
        for low, row in zip(one.lows, one.change, strict=True)
        for high, value in zip(one.highs, row, strict=True)
        if value is not None
    ]
    said = f"{name}, rollout {step}: in force low {_force(one.low)} and high {_force(one.high)}, "
    said += f"which kept {digits(one.kept, 5)} of {digits(one.unclipped, 5)}"
    for what, pick in (("lowest", min), ("highest", max)):
        if cells:
            value, low, high = pick(cells)
            said += f"; {what} {digits(value, 5)} at {_pair(low, high)}"
    return f"{said}."


def _table(shown: Sequence[Run]) -> Table:
    """The last map of each run, a row for each low threshold."""
    highs = sorted({high for run in shown for high in _last(run)[1].highs})
    rows = []
    for run in shown:
        step, one = _last(run)
        for low, row in zip(one.lows, one.change, strict=True):
            cells = dict(zip(one.highs, row, strict=True))
            rows.append(
                (
                    f"{run.name}, rollout {step}, low {_name(low)}",
                    *(digits(cells.get(h), 5) for h in highs),
                )
            )
    return Table(
        ("entropy change", *(f"high {_name(high)}" for high in highs)), tuple(rows)
    )
