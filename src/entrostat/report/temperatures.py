"""Scores by the sampler's temperature, where runs were scored at several.

The base model stands beside each run's end.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from entrostat.report.figure import (
    Figure,
    Specification,
    Style,
    Table,
    digits,
    distinct,
    interval,
)
from entrostat.report.layout import Panel, layouts, log_axis, panel_axes
from entrostat.report.lines import Line, base_trace, seed_traces, with_markers
from entrostat.report.look import INK, Group, groups
from entrostat.report.plane import most_common_samples
from entrostat.report.read import Run
from entrostat.report.scores import Evaluation, Score, evaluation
from entrostat.report.untrusted import mapping, number

MOST_TEMPERATURES = 64
"""Of one model; later ones are left out."""
X_TITLE = "temperature (log scale)"
CAPTION = (
    "Scores on held-out problems by the temperature that the model is sampled at. "
    "Its best temperature is chosen on validation problems. Training that only "
    "sharpens the policy moves its curve to the right and no higher, so compare the "
    "curves at their rings, not at one temperature."
)
_TEMPERATURE = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,12})?(?:e-[0-9]{1,2})?")


class Sweep(NamedTuple):
    """One model's scores by temperature."""

    at: Mapping[float, Evaluation]
    """Ascending, two or more."""
    best: float | None
    """The temperature that was chosen on validation problems; None where the record
    names none of its own."""

    def line(self, name: str) -> dict[float, float]:
        """The score of that name by temperature, where there is one."""
        values = {}
        for temperature, scored in self.at.items():
            if name in scored.scores:
                values[temperature] = scored.scores[name].value
        return values


def sweep(record: Any) -> Sweep | None:
    """What a record of scores says of several temperatures.

    None where it says nothing of two. The record has the scores of each temperature
    under "by_temperature" and the one that was chosen under "best_temperature".
    """
    fields = mapping(record)
    by_temperature = mapping(fields.get("by_temperature"))
    at: dict[float, Evaluation] = {}
    for key, scored in islice(by_temperature.items(), MOST_TEMPERATURES):
        if _TEMPERATURE.fullmatch(key) and float(key) > 0:
            at[float(key)] = evaluation(scored)
    if len(at) < 2:
        return None
    best = number(fields.get("best_temperature"))
    return Sweep(dict(sorted(at.items())), best if best in at else None)


def temperatures(runs: Sequence[Run]) -> Figure | None:
    """mean@n and pass@n against temperature, of the base model and of each run."""
    ends: dict[str, Sweep] = {}
    for run in runs:
        end = sweep(run.summary)
        if end is not None:
            ends[run.name] = end
    swept = [run for run in runs if run.name in ends]
    n = most_common_samples(swept)
    if n is None:
        return None
    names = (f"mean@{n}", f"pass@{n}")
    bases = distinct(sweep((run.summary or {}).get("start")) for run in swept)
    rows: list[tuple[str, Sweep]] = []
    for base in bases:
        rows.append(("base model", base))
    rows += ends.items()
    sentences = [f"Line charts of {names[0]} and {names[1]} against temperature."]
    for row in rows:
        sentences.append(_sentence(*row, names))
    layout, narrow = _layouts(names, rows)
    styles = [Style("ring", "best temperature")]
    if bases:
        styles.append(Style("dash", "base model"))
    # not has_seeds: a seed that was scored at one temperature has no curve
    if len(swept) > len({run.label for run in swept}):
        styles += [Style("thin", "one seed"), Style("line", "mean of seeds")]
    return Figure(
        key="temperature",
        title="Scores by temperature",
        caption=CAPTION,
        alt=" ".join(sentences),
        data=_traces(groups(runs), names, bases, ends),
        layout=layout,
        narrow=narrow,
        table=_table(rows, names),
        styles=styles,
    )


def _traces(
    grouped: Sequence[Group],
    names: Sequence[str],
    bases: Sequence[Sweep],
    ends: Mapping[str, Sweep],
) -> list[Specification]:
    """All curves and rings. Each label has one entry in the legend.

    Args:
        names: of the scores, one for each panel.
        ends: by the runs' names.
    """
    traces: list[Specification] = []
    for panel, name in enumerate(names):
        for i, base in enumerate(bases):
            traces += _base_traces(base, name, panel, in_legend=i == panel == 0)
        for group in grouped:
            traces += _group_traces(group, ends, name, panel)
    return traces


def _base_traces(
    base: Sweep, name: str, panel: int, *, in_legend: bool
) -> list[Specification]:
    """A base model's line with a marker on each point, and its ring."""
    line = base.line(name)
    if not line:
        return []
    drawn = base_trace(line) | with_markers("hexagram", INK) | panel_axes(panel)
    drawn["showlegend"] = in_legend
    return [drawn, *_ring(drawn, base.best)]


def _group_traces(
    group: Group, ends: Mapping[str, Sweep], name: str, panel: int
) -> list[Specification]:
    """A curve for each run of a label, of several seeds their mean, and their rings."""
    lines: dict[str, Line] = {}
    for run in group.runs:
        line = ends[run.name].line(name) if run.name in ends else {}
        if line:
            lines[run.name] = line
    traces = seed_traces(group, lines)
    if not traces:
        return []
    for drawn in traces:
        drawn |= panel_axes(panel)
    traces[-1] |= with_markers(group.symbol, group.colour)
    traces[-1]["showlegend"] = panel == 0
    rings = []
    # the runs' traces come first, and in their order; a mean has no best temperature
    for drawn, run_name in zip(traces, lines, strict=False):
        rings += _ring(drawn, ends[run_name].best)
    return traces + rings


def _ring(drawn: Specification, best: float | None) -> list[Specification]:
    """A ring on a line where the best temperature is; nothing where none was chosen."""
    if best not in drawn["x"]:
        return []
    colour = drawn["line"]["color"]
    ring = {"symbol": "circle-open", "size": 14, "color": colour, "line": {"width": 2}}
    point = {
        "x": [best],
        "y": [drawn["y"][drawn["x"].index(best)]],
        "mode": "markers",
        "marker": ring,
        # as faint as a seed's line among others
        "opacity": 0.5 if "opacity" in drawn else 1,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [drawn | point]


def _layouts(
    names: Sequence[str], rows: Sequence[tuple[str, Sweep]]
) -> tuple[Specification, Specification]:
    """A panel for each score, with a tick at each temperature."""
    panels = [Panel(names[0], "score", "~%"), Panel(names[1], "", "~%")]
    layout, narrow = layouts(panels, x=X_TITLE)
    at: set[float] = set()
    for _, swept in rows:
        at.update(swept.at)
    for axes in (layout, narrow):
        for axis in ("xaxis", "xaxis2"):
            axes[axis] |= log_axis(sorted(at))
    return layout, narrow


def _table(rows: Sequence[tuple[str, Sweep]], names: tuple[str, str]) -> Table:
    """A row for each model and temperature."""
    cells: list[tuple[str, ...]] = []
    for run, swept in rows:
        for temperature, scored in swept.at.items():
            scores = [interval(scored.scores.get(name)) for name in names]
            chosen = "best" if temperature == swept.best else ""
            cells.append((run, f"{temperature:g}", *scores, chosen))
    return Table(("run", "temperature", *names, "on validation problems"), cells)


def _sentence(run: str, swept: Sweep, names: tuple[str, str]) -> str:
    """The scores at the best temperature, or at the highest where none was chosen."""
    which = "best" if swept.best is not None else "highest"
    at = swept.best if swept.best is not None else max(swept.at)
    values = [_value(swept.at[at].scores.get(name)) for name in names]
    return f"{run} at its {which} temperature {at:g}: {', '.join(values)}."


def _value(score: Score | None) -> str:
    return digits(None if score is None else score.value)
