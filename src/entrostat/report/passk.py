"""The figure of pass@k against k after training, with the base model's."""

from collections.abc import Sequence

from entrostat.report.figure import (
    Figure,
    Specification,
    Style,
    Table,
    digits,
    distinct,
    interval,
)
from entrostat.report.layout import Panel, layouts, log_axis
from entrostat.report.lines import Line, band, base_trace, seed_traces, with_markers
from entrostat.report.look import BASE, INK, Group, groups, has_seeds
from entrostat.report.read import Run
from entrostat.report.scores import PassAt

CAPTION = (
    "Share of held-out problems with at least one right answer among k samples. "
    "Where a curve is under the base model's, training has lost answers "
    "that the base model finds within k samples."
)


def pass_at_k(runs: Sequence[Run]) -> Figure | None:
    """pass@k against k; None where no run has been scored at its end."""
    if not any(run.end.pass_at for run in runs):
        return None
    rows = _rows(runs)
    ks: set[int] = set()
    sentences = ["Line chart of pass@k against k."]
    for name, pass_at in rows:
        ks.update(pass_at)
        sentences.append(_sentence(name, pass_at))
    x_title = "k, samples per problem (log scale)"
    layout, narrow = layouts([Panel("", "pass@k", "~%")], x=x_title)
    for axes in (layout, narrow):
        axes["xaxis"] |= log_axis(sorted(ks))
        axes["yaxis"] |= {"range": [0, 1.02]}
    return Figure(
        key="passk",
        title="pass@k",
        caption=CAPTION,
        alt=" ".join(sentences),
        # bands go first, so that none hides a line
        data=_bands(runs) + _lines(runs),
        layout=layout,
        narrow=narrow,
        table=_table(rows, sorted(ks)),
        styles=_styles(runs),
    )


def _styles(runs: Sequence[Run]) -> list[Style]:
    """The key."""
    styles = [Style("band", "95% interval")]
    if _bases(runs):
        styles.append(Style("dash", "base model"))
    if has_seeds(groups(runs)):
        styles += [Style("thin", "one seed"), Style("line", "mean of seeds")]
    return styles


def _bases(runs: Sequence[Run]) -> list[PassAt]:
    """Each base model once."""
    return distinct(run.start.pass_at for run in runs)


def _rows(runs: Sequence[Run]) -> list[tuple[str, PassAt]]:
    """What has a curve, by name: the base models, then each run."""
    rows: list[tuple[str, PassAt]] = []
    for pass_at in _bases(runs):
        rows.append(("base model", pass_at))
    for run in runs:
        if run.end.pass_at:
            rows.append((run.name, run.end.pass_at))
    return rows


def _bands(runs: Sequence[Run]) -> list[Specification]:
    """The intervals of all curves, the fainter the more there are."""
    areas = []
    for pass_at in _bases(runs):
        areas.append(band(pass_at, BASE, INK))
    for group in groups(runs):
        for run in group.runs:
            areas.append(band(run.end.pass_at, group.key, group.colour))
    bands = list(filter(None, areas))
    for area in bands:
        area["opacity"] = min(0.15, 0.6 / len(bands))
    return bands


def _lines(runs: Sequence[Run]) -> list[Specification]:
    """The base models' lines and each label's; each has one entry in the legend."""
    lines: list[Specification] = []
    for pass_at in _bases(runs):
        base = base_trace(_values(pass_at))
        lines.append(base | {"showlegend": not lines})
    for group in groups(runs):
        lines += _group_lines(group)
    return lines


def _group_lines(group: Group) -> list[Specification]:
    """A label's curves: its seeds', and with markers the one that stands for it."""
    values: dict[str, Line] = {}
    for run in group.runs:
        if run.end.pass_at:
            values[run.name] = _values(run.end.pass_at)
    traces = seed_traces(group, values)
    if traces:
        traces[-1] |= with_markers(group.symbol, group.colour) | {"showlegend": True}
    return traces


def _values(pass_at: PassAt) -> dict[int, float]:
    """pass@k by k, without the intervals."""
    return {k: score.value for k, score in pass_at.items()}


def _table(rows: Sequence[tuple[str, PassAt]], ks: Sequence[int]) -> Table:
    """A row for each curve, a column for each k."""
    cells = []
    for name, pass_at in rows:
        scores = [interval(pass_at.get(k)) for k in ks]
        cells.append((name, *scores))
    return Table(("run", *(f"k = {k}" for k in ks)), cells)


def _sentence(name: str, pass_at: PassAt) -> str:
    """The ends of a curve, in words."""
    first, last = min(pass_at), max(pass_at)
    low_k = f"{digits(pass_at[first].value)} at k = {first}"
    high_k = f"{digits(pass_at[last].value)} at k = {last}"
    return f"{name}: {low_k}, {high_k}."
