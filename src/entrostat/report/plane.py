"""The plane of mean@n and pass@n: whether a method trades breadth for sharpness, with the base model as reference."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from entrostat.report.plots import (
    BASE,
    INK,
    Figure,
    Group,
    Panel,
    Table,
    digits,
    groups,
    interval,
    layouts,
    literal,
)
from entrostat.report.read import Evaluation, Run, Score


class Point(NamedTuple):
    """An evaluation, as a point."""

    when: str
    mean: Score
    most: Score


def plane(runs: Sequence[Run]) -> Figure | None:
    """mean@n against pass@n at the end of each run, and on the way there where it was evaluated."""
    n = most_common_samples(runs)
    if n is None:
        return None
    bases = list(
        dict.fromkeys(
            point for run in runs if (point := _point("base model", run.start, n))
        )
    )
    placed = {run.name: found for run in runs if (found := _points(run, n))}
    data = [
        one
        for group in groups(runs)
        for run in group.runs
        if run.name in placed
        for one in _path(group, run, n)
    ]
    data += [_base(point, i == 0) for i, point in enumerate(bases)]
    data += [one for group in groups(runs) for one in _ends(group, n)]
    layout, narrow = layouts(
        [Panel("", f"pass@{n}", "~%")], x=f"mean@{n}, which estimates pass@1"
    )
    for axes in (layout, narrow):
        axes["hovermode"] = "closest"
        axes["xaxis"] |= {"tickformat": "~%"}
        axes["yaxis"] |= {"rangemode": "normal"}
    rows = [("base model", "", point) for point in bases]
    rows += [
        (name, point.when, point) for name, points in placed.items() for point in points
    ]
    cells = tuple(
        (name, when, interval(point.mean), interval(point.most))
        for name, when, point in rows
    )
    alt = f"Chart of pass@{n} against mean@{n}. " + " ".join(_alt(*row) for row in rows)
    table = Table(("run", "evaluated", f"mean@{n}", f"pass@{n}"), cells)
    title = f"pass@{n} against mean@{n}"
    return Figure(
        "plane",
        title,
        _caption(runs, placed, n),
        alt,
        tuple(data),
        layout,
        narrow,
        table,
    )


def most_common_samples(runs: Sequence[Run]) -> int | None:
    """The n of mean@n and pass@n that most runs have, the largest of several."""
    held: Counter[int] = Counter()
    for run in runs:
        names = {
            name for one in (run.end, *run.between.values()) for name in one.scores
        }
        held.update(
            int(name[5:])
            for name in names
            if name.startswith("mean@") and f"pass@{name[5:]}" in names
        )
    return max(held, key=lambda n: (held[n], n), default=None)


def _caption(runs: Sequence[Run], placed: dict[str, Any], n: int) -> str:
    caption = (
        f"How often a sample is right (mean@{n}) against how often any of {n} is (pass@{n}), on held-out problems. Up "
        "and to the right is better; training that only sharpens the policy moves right and down. Bars: 95% intervals."
    )
    if any(len(points) > 1 for points in placed.values()):
        caption += " Small markers: evaluations during training, in order along the line from the base model."
    others = [
        run.name
        for run in runs
        if run.name not in placed and (run.end.scores or run.between)
    ]
    return caption + (
        f" Left out, scored with other numbers of samples: {'; '.join(others)}."
        if others
        else ""
    )


def _point(when: str, one: Evaluation, n: int) -> Point | None:
    mean, most = one.scores.get(f"mean@{n}"), one.scores.get(f"pass@{n}")
    return None if mean is None or most is None else Point(when, mean, most)


def _points(run: Run, n: int) -> list[Point]:
    """The run's evaluations in order, without the base model's."""
    found = [
        _point(f"after {rollouts} rollouts", one, n)
        for rollouts, one in run.between.items()
    ]
    return [
        point
        for point in (*found, _point("at the end", run.end, n))
        if point is not None
    ]


def _path(group: Group, run: Run, n: int) -> list[dict[str, Any]]:
    """The line through the evaluations of a run that has some before its end, and small markers on those."""
    points = _points(run, n)
    between = points[: len(points) - (_point("", run.end, n) is not None)]
    if not between:
        return []
    start = _point("", run.start, n)
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [point.mean.value for point in (start, *points) if point],
        "y": [point.most.value for point in (start, *points) if point],
        "line": {"color": group.colour, "width": 1},
        "opacity": 0.7,
        "hoverinfo": "skip",
        "name": literal(run.name),
        "legendgroup": group.key,
        "showlegend": False,
    }
    return [
        line,
        _markers(between, group.key, run.name, group.colour, f"{group.symbol}-open")
        | {"opacity": 0.5},
    ]


def _ends(group: Group, n: int) -> list[dict[str, Any]]:
    """The end points of a label's runs; the first stands for the label in the legend."""
    ends = [
        (run.name, point)
        for run in group.runs
        if (point := _point("at the end", run.end, n))
    ]
    return [
        _markers([point], group.key, name, group.colour, group.symbol, size=10)
        | {"name": literal(group.label if i == 0 else name), "showlegend": i == 0}
        for i, (name, point) in enumerate(ends)
    ]


def _base(point: Point, first: bool) -> dict[str, Any]:
    return _markers([point], BASE, "base model", INK, "hexagram", size=12) | {
        "showlegend": first
    }


def _markers(
    points: Sequence[Point],
    key: str,
    name: str,
    colour: str,
    symbol: str,
    *,
    size: int = 6,
) -> dict[str, Any]:
    said = [
        f"{literal(name)}, {point.when}" if point.when != name else literal(name)
        for point in points
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [point.mean.value for point in points],
        "y": [point.most.value for point in points],
        "text": said,
        "hovertemplate": "%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>",
        "name": literal(name),
        "legendgroup": key,
        "showlegend": False,
        "marker": {"symbol": symbol, "size": size, "color": colour},
        "error_x": _bars([point.mean for point in points], colour),
        "error_y": _bars([point.most for point in points], colour),
    }


def _bars(scores: Sequence[Score], colour: str) -> dict[str, Any]:
    """How far the intervals reach on both sides; nowhere where a score has none."""
    known = [
        (
            s.value if s.low is None else s.low,
            s.value,
            s.value if s.high is None else s.high,
        )
        for s in scores
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for _, value, high in known],
        "arrayminus": [max(0.0, value - low) for low, value, _ in known],
        "color": colour,
        "thickness": 1,
        "width": 3,
    }


def _alt(name: str, when: str, point: Point) -> str:
    said = f"{name} {when}".strip()
    return f"{said}: {digits(point.mean.value)}, {digits(point.most.value)}."
