"""The plane of mean@n and pass@n, with the base model as reference.

It shows whether a method trades breadth for sharpness.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from entrostat.report.figure import (
    Figure,
    Specification,
    Style,
    Table,
    digits,
    distinct,
    interval,
    literal,
)
from entrostat.report.layout import Panel, layouts
from entrostat.report.look import BASE, INK, Group, groups
from entrostat.report.read import Run
from entrostat.report.scores import Evaluation, Score


class Point(NamedTuple):
    """An evaluation, as a point."""

    when: str
    """In words, such as "after 20 rollouts"."""
    mean: Score
    """mean@n, to the right."""
    best: Score
    """pass@n, upwards."""


class Way(NamedTuple):
    """A run's evaluations; a point is None where it was not scored with n samples."""

    start: Point | None
    """The base model's."""
    between: list[Point]
    """In the course of the run, in order."""
    end: Point | None

    @property
    def points(self) -> list[Point]:
        """All but the base model's, in order."""
        return self.between if self.end is None else [*self.between, self.end]


def plane(runs: Sequence[Run]) -> Figure | None:
    """mean@n against pass@n at the end of each run, and on the way there."""
    n = most_common_samples(runs)
    if n is None:
        return None
    ways = {run.name: _way(run, n) for run in runs}
    bases = distinct(way.start for way in ways.values())
    rows: list[tuple[str, str, Point]] = []
    for point in bases:
        rows.append(("base model", "", point))
    for name, way in ways.items():
        for point in way.points:
            rows.append((name, point.when, point))
    sentences = [f"Chart of pass@{n} against mean@{n}."]
    for row in rows:
        sentences.append(_sentence(*row))
    layout, narrow = _layouts(n)
    return Figure(
        key="plane",
        title=f"pass@{n} against mean@{n}",
        caption=_caption(runs, ways, n),
        alt=" ".join(sentences),
        data=_traces(runs, ways, bases),
        layout=layout,
        narrow=narrow,
        table=_table(rows, n),
        styles=_styles(ways, bases),
    )


def _styles(ways: Mapping[str, Way], bases: Sequence[Point]) -> list[Style]:
    """The key."""
    styles = [Style("bar", "95% interval")]
    if bases:
        styles.append(Style("star", "base model"))
    if any(way.between for way in ways.values()):
        during = "during training, in order along the line"
        styles += [Style("small", during), Style("thin", "way of a run")]
    return styles


def most_common_samples(runs: Sequence[Run]) -> int | None:
    """The n of mean@n and pass@n that most runs have, the largest of several."""
    held: Counter[int] = Counter()
    for run in runs:
        names = set(run.end.scores)
        for evaluation in run.between.values():
            names.update(evaluation.scores)
        for name in names:
            kind, _, n = name.partition("@")
            if kind == "mean" and f"pass@{n}" in names:
                held[int(n)] += 1
    return max(held, key=lambda n: (held[n], n), default=None)


def _way(run: Run, n: int) -> Way:
    """The run's evaluations with n samples per problem."""
    between = []
    for rollouts, evaluation in run.between.items():
        point = _point(f"after {rollouts} rollouts", evaluation, n)
        if point is not None:
            between.append(point)
    start = _point("base model", run.start, n)
    return Way(start, between, _point("at the end", run.end, n))


def _point(when: str, evaluation: Evaluation, n: int) -> Point | None:
    """None where the evaluation has no mean@n or no pass@n."""
    mean = evaluation.scores.get(f"mean@{n}")
    best = evaluation.scores.get(f"pass@{n}")
    return None if mean is None or best is None else Point(when, mean, best)


def _layouts(n: int) -> tuple[Specification, Specification]:
    """Two axes of shares, neither of which need begin at 0."""
    panels = [Panel("", f"pass@{n}", "~%")]
    layout, narrow = layouts(panels, x=f"mean@{n}, which estimates pass@1")
    for axes in (layout, narrow):
        axes["hovermode"] = "closest"
        axes["xaxis"]["tickformat"] = "~%"
        axes["yaxis"]["rangemode"] = "normal"
    return layout, narrow


def _caption(runs: Sequence[Run], ways: Mapping[str, Way], n: int) -> str:
    """What the figure shows of these runs, and which it leaves out."""
    caption = (
        f"How often a sample is right (mean@{n}) against how often any of {n} is "
        f"(pass@{n}), on held-out problems. Up and to the right is better; training "
        "that only sharpens the policy moves right and down."
    )
    others = []
    for run in runs:
        is_scored = bool(run.end.scores or run.between)
        if is_scored and not ways[run.name].points:
            others.append(run.name)
    if others:
        names = "; ".join(others)
        caption += f" Left out, scored with other numbers of samples: {names}."
    return caption


def _traces(
    runs: Sequence[Run], ways: Mapping[str, Way], bases: Sequence[Point]
) -> list[Specification]:
    """The ways of the runs, and above them the base models and the ends."""
    traces: list[Specification] = []
    for group in groups(runs):
        for run in group.runs:
            traces += _path(group, run.name, ways[run.name])
    for i, point in enumerate(bases):
        base = _markers([point], BASE, "base model", INK, "hexagram", size=12)
        traces.append(base | {"showlegend": i == 0})
    for group in groups(runs):
        traces += _ends(group, ways)
    return traces


def _path(group: Group, name: str, way: Way) -> list[Specification]:
    """The line through a run's evaluations, and small markers on those in between.

    Nothing where there are none in between.
    """
    if not way.between:
        return []
    points = way.points if way.start is None else [way.start, *way.points]
    line = _places(points) | {
        "mode": "lines",
        "line": {"color": group.colour, "width": 1},
        "opacity": 0.7,
        "hoverinfo": "skip",
        "name": literal(name),
        "legendgroup": group.key,
        "showlegend": False,
    }
    symbol = f"{group.symbol}-open"
    markers = _markers(way.between, group.key, name, group.colour, symbol)
    return [line, markers | {"opacity": 0.5}]


def _ends(group: Group, ways: Mapping[str, Way]) -> list[Specification]:
    """The end points of a label's runs; the first stands for it in the legend."""
    traces: list[Specification] = []
    for run in group.runs:
        end = ways[run.name].end
        if end is None:
            continue
        look = (group.key, run.name, group.colour, group.symbol)
        marker = _markers([end], *look, size=10)
        if not traces:
            marker |= {"name": literal(group.label), "showlegend": True}
        traces.append(marker)
    return traces


def _markers(
    points: Sequence[Point],
    key: str,
    name: str,
    colour: str,
    symbol: str,
    *,
    size: int = 6,
) -> Specification:
    """Points with their intervals, in the legend group `key`, but not in the legend.

    Args:
        name: the run's, which the pointer shows beside the point's time.
        symbol: Plotly's name of a marker.
        size: in pixels.
    """
    texts = []
    for point in points:
        # the base model's point is named like its time
        is_base = point.when == name
        texts.append(literal(name) if is_base else f"{literal(name)}, {point.when}")
    means = [point.mean for point in points]
    bests = [point.best for point in points]
    return _places(points) | {
        "mode": "markers",
        "text": texts,
        "hovertemplate": "%{text}<br>%{x:.3f}, %{y:.3f}<extra></extra>",
        "name": literal(name),
        "legendgroup": key,
        "showlegend": False,
        "marker": {"symbol": symbol, "size": size, "color": colour},
        "error_x": _bars(means, colour),
        "error_y": _bars(bests, colour),
    }


def _places(points: Sequence[Point]) -> Specification:
    """Where the points are."""
    x = []
    y = []
    for point in points:
        x.append(point.mean.value)
        y.append(point.best.value)
    return {"type": "scatter", "x": x, "y": y}


def _bars(scores: Sequence[Score], colour: str) -> Specification:
    """How far the intervals reach on both sides; nowhere where a score has none."""
    up = []
    down = []
    for score in scores:
        low = score.value if score.low is None else score.low
        high = score.value if score.high is None else score.high
        up.append(max(0.0, high - score.value))
        down.append(max(0.0, score.value - low))
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "color": colour,
        "thickness": 1,
        "width": 3,
    }


def _table(rows: Sequence[tuple[str, str, Point]], n: int) -> Table:
    cells = []
    for name, when, point in rows:
        cells.append((name, when, interval(point.mean), interval(point.best)))
    return Table(("run", "evaluated", f"mean@{n}", f"pass@{n}"), cells)


def _sentence(name: str, when: str, point: Point) -> str:
    """A point, in words."""
    subject = f"{name} {when}".strip()
    return f"{subject}: {digits(point.mean.value)}, {digits(point.best.value)}."
