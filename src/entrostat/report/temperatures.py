"""Scores by the sampler's temperature, where runs were scored at several: the base model beside each run's end."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from entrostat.report.plane import most_common_samples
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
    trace,
)
from entrostat.report.read import Evaluation, Run, evaluation, number

MOST_TEMPERATURES = 64
"""Of one model; later ones are left out."""
_TEMPERATURE = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,12})?(?:e-[0-9]{1,2})?")


class Sweep(NamedTuple):
    """One model's scores by temperature."""

    at: Mapping[float, Evaluation]
    """Ascending, two or more."""
    best: float | None
    """The temperature that was chosen on validation problems; None where the record names none of its own."""


def sweep(record: Any) -> Sweep | None:
    """What a record of scores says of several temperatures; None where it says nothing of two."""
    fields = record if isinstance(record, dict) else {}
    by_temperature = fields.get("by_temperature")
    if not isinstance(by_temperature, dict):
        return None
    found: dict[float, Evaluation] = {}
    for key, value in islice(by_temperature.items(), MOST_TEMPERATURES):
        if _TEMPERATURE.fullmatch(key) and float(key) > 0:
            found[float(key)] = evaluation(value)
    best = number(fields.get("best_temperature"))
    if len(found) < 2:
        return None
    return Sweep(dict(sorted(found.items())), best if best in found else None)


def temperatures(runs: Sequence[Run]) -> Figure | None:
    """mean@n and pass@n against temperature, of the base model and at the end of each run."""
    ends = {run.name: one for run in runs if (one := sweep(run.summary))}
    swept = [run for run in runs if run.name in ends]
    n = most_common_samples(swept)
    if n is None:
        return None
    names = (f"mean@{n}", f"pass@{n}")
    bases = _bases(swept)
    data: list[dict[str, Any]] = []
    for panel, name in enumerate(names):
        for i, base in enumerate(bases):
            drawn = _curve(base, name, panel, _BASE)
            data += (
                [drawn[0] | {"showlegend": i == panel == 0}, *drawn[1:]]
                if drawn
                else []
            )
        for group in groups(runs):
            data += _group_curves(group, ends, name, panel)
    rows = [("base model", base) for base in bases] + list(ends.items())
    at = sorted({temperature for _, one in rows for temperature in one.at})
    layout, narrow = layouts(
        [Panel(name, "" if i else "score", "~%") for i, name in enumerate(names)], x=_X
    )
    for axes in (layout, narrow):
        for axis in ("xaxis", "xaxis2"):
            axes[axis] |= {
                "type": "log",
                "tickvals": at,
                "ticktext": [f"{each:g}" for each in at],
            }
    said = " ".join(_alt(*row, names) for row in rows)
    alt = f"Line charts of {names[0]} and {names[1]} against temperature. {said}"
    table = _table(rows, names)
    several = any(
        sum(run.name in ends for run in group.runs) > 1 for group in groups(runs)
    )
    caption = _CAPTION + (" Thin: single seeds. Thick: their mean." if several else "")
    return Figure(
        "temperature",
        "Scores by temperature",
        caption,
        alt,
        tuple(data),
        layout,
        narrow,
        table,
    )


_X = "temperature (log scale)"
_CAPTION = (
    "Scores on held-out problems by the temperature that the model is sampled at. Rings: its best temperature, chosen "
    "on validation problems. Training that only sharpens the policy moves its curve to the right and no higher, so "
    "compare the curves at their rings, not at one temperature."
)


class _Look(NamedTuple):
    """How a model's curve looks."""

    key: str
    shown: str
    colour: str
    symbol: str
    dash: str = "solid"


_BASE = _Look(BASE, "base model", INK, "hexagram", "dash")


def _bases(runs: Sequence[Run]) -> list[Sweep]:
    """Each base model once. Runs that started from one have the same scores."""
    found: list[Sweep] = []
    for run in runs:
        start = sweep((run.summary or {}).get("start"))
        if start is not None and start not in found:
            found.append(start)
    return found


def _group_curves(
    group: Group, ends: Mapping[str, Sweep], name: str, panel: int
) -> list[dict[str, Any]]:
    """A curve a run; of several seeds these are thin, and their mean stands for the label."""
    found = {run.name: ends[run.name] for run in group.runs if run.name in ends}
    look = _Look(group.key, group.label, group.colour, group.symbol)
    lines = [line for each in found.values() if (line := _line(each, name))]
    if not lines:
        return []
    several = len(found) > 1
    data: list[dict[str, Any]] = []
    for run_name, each in found.items():
        data += _curve(
            each,
            name,
            panel,
            look._replace(shown=run_name) if several else look,
            thin=several,
        )
    if several:
        common = set.intersection(*(set(line) for line in lines))
        mean = {
            temperature: fmean(line[temperature] for line in lines)
            for temperature in sorted(common)
        }
        data.append(_drawn(mean, panel, look))
    # the mean, or the one run
    data[-1 if several else 0]["showlegend"] = panel == 0
    return data


def _curve(
    one: Sweep, name: str, panel: int, look: _Look, *, thin: bool = False
) -> list[dict[str, Any]]:
    """The line of one model, and a ring where its best temperature is."""
    line = _line(one, name)
    if not line:
        return []
    drawn = _drawn(line, panel, look, thin=thin)
    if one.best not in line:
        return [drawn]
    ring = {
        "symbol": "circle-open",
        "size": 14,
        "color": look.colour,
        "line": {"width": 2},
    }
    best = trace(
        {one.best: line[one.best]}, look.key, look.shown, look.colour, thin=True
    )
    return [
        drawn,
        best
        | _axes(panel)
        | {"mode": "markers", "marker": ring, "opacity": 0.5 if thin else 1},
    ]


def _drawn(
    line: dict[float, float], panel: int, look: _Look, *, thin: bool = False
) -> dict[str, Any]:
    one = trace(line, look.key, look.shown, look.colour, look.dash, thin=thin) | _axes(
        panel
    )
    marker = {"symbol": look.symbol, "size": 7, "color": look.colour}
    return one if thin else one | {"mode": "lines+markers", "marker": marker}


def _line(one: Sweep, name: str) -> dict[float, float]:
    return {
        t: scored.scores[name].value
        for t, scored in one.at.items()
        if name in scored.scores
    }


def _axes(panel: int) -> dict[str, str]:
    return {"xaxis": "x2", "yaxis": "y2"} if panel else {"xaxis": "x", "yaxis": "y"}


def _table(rows: Sequence[tuple[str, Sweep]], names: tuple[str, str]) -> Table:
    cells: list[tuple[str, ...]] = []
    for run, one in rows:
        for temperature, scored in one.at.items():
            chosen = "best" if temperature == one.best else ""
            scores = (interval(scored.scores.get(name)) for name in names)
            cells.append((run, f"{temperature:g}", *scores, chosen))
    return Table(("run", "temperature", *names, "on validation problems"), tuple(cells))


def _alt(run: str, one: Sweep, names: tuple[str, str]) -> str:
    """The scores at the best temperature, or at the highest where none was chosen."""
    at = max(one.at) if one.best is None else one.best
    which = "highest" if one.best is None else "best"
    mean, most = (one.at[at].scores.get(name) for name in names)
    values = f"{digits(mean.value if mean else None)}, {digits(most.value if most else None)}"
    return f"{run} at its {which} temperature {at:g}: {values}."
