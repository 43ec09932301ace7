"""Line charts of the numbers in metrics.jsonl against rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from entrostat.report.axes import run_keys
from entrostat.report.figure import (
    Figure,
    Look,
    Specification,
    Style,
    Table,
    digits,
    spread,
)
from entrostat.report.layout import Panel, layouts, panel_axes
from entrostat.report.lines import Line, seed_traces, trace
from entrostat.report.look import Group, groups, has_seeds
from entrostat.report.read import Run

MARKERS = 8
"""Along a line at most. They tell lines apart, they do not show each rollout."""
TABLE_ROWS = 11
"""Rollouts of the table under a figure at most, those of marks apart."""


@dataclass(frozen=True)
class Curve:
    """One kind of line: its number in each rollout is `key` in metrics.jsonl."""

    key: str
    panel: int = 0
    """Number of the panel that it stands in."""
    dash: Literal["solid", "dash", "dot"] = "solid"
    """Plotly's name of a dash."""
    note: str = ""
    """What stands beside the run's name where the line is not its panel's main one."""
    marks: bool = False
    """Open markers without a line, for what few rollouts have."""
    style: str = ""
    """What its line style means, for the figure's key; curves of one style say the
    same. Empty where a figure has one style alone."""
    exact: bool = False
    """No measurement, so that it has no noise to be smoothed away."""

    @property
    def look(self) -> Look:
        """Of its lines, in the key."""
        if self.marks:
            return "rings"
        return "line" if self.dash == "solid" else self.dash


def curves_figure(
    runs: Sequence[Run],
    key: str,
    title: str,
    caption: str,
    curves: Sequence[Curve],
    panels: Sequence[Panel],
) -> Figure | None:
    """A figure of `curves` against rollouts; None where no run has any of them.

    Args:
        key: the figure's.
        caption: what the curves are; a word on seeds is added where there are several.
        panels: those that the curves name by number.
    """
    curves, panels = _in_use(runs, curves, panels)
    grouped = groups(runs)
    data: list[Specification] = []
    for group in grouped:
        data += _group_traces(group, curves)
    if not data:
        return None
    seeds = has_seeds(groups([run for run in runs if _has_any(run, curves)]))
    if seeds:
        caption += " A mean of seeds goes as far as all of them have got."
    layout, narrow = layouts(panels, step_word(runs))
    return Figure(
        key=key,
        title=title,
        caption=caption,
        alt=f"Line chart against rollouts. {_alt(runs, curves, panels)}",
        data=data,
        layout=layout,
        narrow=narrow,
        table=_table(runs, curves, panels),
        styles=_styles(curves, seeds),
        is_curves=True,
    )


def step_word(runs: Sequence[Run]) -> str:
    """What a step of the runs is called."""
    # another program's step is an update, or what it calls a step
    return "step" if any(run.foreign for run in runs) else "rollout"


def _has_any(run: Run, curves: Sequence[Curve]) -> bool:
    return any(run.known(curve.key) for curve in curves)


def _styles(curves: Sequence[Curve], seeds: bool) -> list[Style]:
    """The key: each style once, and that of a seed beside its label's mean."""
    styles: list[Style] = []
    # one style needs no key
    if len({curve.look for curve in curves}) > 1:
        told = [Style(curve.look, curve.style) for curve in curves if curve.style]
        styles += dict.fromkeys(told)
    if seeds:
        styles += [Style("thin", "one seed"), Style("line", "mean of seeds")]
    return styles


def _in_use(
    runs: Sequence[Run], curves: Sequence[Curve], panels: Sequence[Panel]
) -> tuple[list[Curve], list[Panel]]:
    """The curves that some run has, and the panels that they stand in."""
    known = [curve for curve in curves if any(run.known(curve.key) for run in runs)]
    numbers = sorted({curve.panel for curve in known})
    moved = [replace(curve, panel=numbers.index(curve.panel)) for curve in known]
    return moved, [panels[number] for number in numbers]


def _group_traces(group: Group, curves: Sequence[Curve]) -> list[Specification]:
    """All curves of a label; the first that it has stands for it in the legend."""
    traces: list[Specification] = []
    for curve in curves:
        drawn = _marks(group, curve) if curve.marks else _lines(group, curve)
        if drawn and not traces:
            drawn[-1]["showlegend"] = True
        traces += drawn
    return traces


def _lines(group: Group, curve: Curve) -> list[Specification]:
    """A curve of each run of a label, and of several their mean."""
    lines: dict[str, Line] = {}
    for run in group.runs:
        line = run.line(curve.key)
        if line:
            lines[run.name] = line
    traces = seed_traces(group, lines, curve.dash, _behind_name(curve))
    keys = run_keys(group)
    at = [keys[name] for name in lines]
    if len(lines) > 1:
        at.append(group.key)
    for drawn, key in zip(traces, at, strict=True):
        drawn |= panel_axes(curve.panel)
        drawn["meta"] = {"at": key, "smooth": not curve.exact}
    if traces:
        traces[-1] |= _markers(group, traces[-1]["y"], sparse=not curve.note)
    return traces


def _marks(group: Group, curve: Curve) -> list[Specification]:
    """Open markers where the runs of a label have a number."""
    lines: dict[str, dict[int, float]] = {}
    for run in group.runs:
        known = run.known(curve.key)
        if known:
            lines[run.name] = known
    symbol = f"{group.symbol}-open"
    marker = {"symbol": symbol, "size": 8, "color": group.colour}
    look = {"mode": "markers", "opacity": 0.6 if len(lines) > 1 else 1}
    keys = run_keys(group)
    traces = []
    for name, line in lines.items():
        marks = trace(line, group.key, name + _behind_name(curve), group.colour)
        marks["meta"] = {"at": keys[name], "smooth": False}
        traces.append(marks | panel_axes(curve.panel) | look | {"marker": marker})
    return traces


def _behind_name(curve: Curve) -> str:
    """What stands behind the run's name in the legend and at the pointer."""
    return f" ({curve.note})" if curve.note else ""


def _markers(
    group: Group, values: Sequence[float | None], sparse: bool
) -> Specification:
    """Markers along a line: on all its points, on a few, or on none.

    All have one where a point has no neighbour, since no line would show that point.

    Args:
        values: y, with None where a rollout lacks it.
        sparse: whether a few are wanted.
    """
    lone = _has_lone_point(values)
    if not lone and not sparse:
        return {}
    marker: Specification = {"symbol": group.symbol, "color": group.colour}
    marker |= {"size": 4} if lone else {"size": 7, "maxdisplayed": MARKERS}
    return {"mode": "lines+markers", "marker": marker}


def _has_lone_point(values: Sequence[float | None]) -> bool:
    """Whether a value stands between two missing ones, or between one and an end."""
    padded = [None, *values, None]
    for i in range(1, len(padded) - 1):
        before, here, after = padded[i - 1 : i + 2]
        if before is None and here is not None and after is None:
            return True
    return False


def _where(curve: Curve, panels: Sequence[Panel]) -> str:
    """What a curve is called beside others: its panel and its note."""
    return ", ".join(filter(None, (panels[curve.panel].title, curve.note)))


def _alt(runs: Sequence[Run], curves: Sequence[Curve], panels: Sequence[Panel]) -> str:
    """The first and the last number of each curve, a sentence for each run."""
    sentences = []
    for run in runs:
        parts = []
        for curve in curves:
            values = list(run.known(curve.key).values())
            if values:
                ends = f"{digits(values[0])} to {digits(values[-1])}"
                parts.append(f"{_where(curve, panels)} {ends}".strip())
        if parts:
            sentences.append(f"{run.name}: {'; '.join(parts)}.")
    return " ".join(sentences)


def _table(
    runs: Sequence[Run], curves: Sequence[Curve], panels: Sequence[Panel]
) -> Table:
    """The curves at some rollouts: a column for each run and curve."""
    head = ["rollout"]
    columns: list[dict[int, float]] = []
    for run in runs:
        for curve in curves:
            values = run.known(curve.key)
            if values:
                columns.append(values)
                head.append(": ".join(filter(None, (run.name, _where(curve, panels)))))
    rows = []
    for step in _table_steps(runs, curves):
        cells = [digits(values.get(step)) for values in columns]
        rows.append((str(step), *cells))
    return Table(tuple(head), rows)


def _table_steps(runs: Sequence[Run], curves: Sequence[Curve]) -> list[int]:
    """Up to `TABLE_ROWS` rollouts, evenly spread, and those of marks where they are."""
    steps: set[int] = set()
    for run in runs:
        steps.update(run.rows)
    chosen = set(spread(sorted(steps), TABLE_ROWS))
    for run in runs:
        for curve in curves:
            if curve.marks:
                chosen.update(spread(list(run.known(curve.key)), TABLE_ROWS))
    return sorted(chosen)
