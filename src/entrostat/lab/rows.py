"""The table of a comparison: a row per method, each score with its interval, in bold where
it is the best for sure."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from entrostat.estimate import Interval, hierarchical_interval, pass_at_k, seed_interval
from entrostat.lab.compare import Comparison, lines
from entrostat.lab.evaluate import at_best
from entrostat.lab.methods import from_json, label
from entrostat.lab.run import Run
from entrostat.lab.score_cell import ScoreCell
from entrostat.lab.show import best_label, finished

FROM_ROLLOUT = 30
"""Entropy errors are means from this rollout on, or from the run's middle where that is
earlier."""

Better = Callable[..., Any]
"""max or min: which value of a column is the best."""


class Column(NamedTuple):
    """A column of the table before its cells are made."""

    values: Sequence[np.ndarray | None]
    """Of each row, (seeds, problems) or (seeds,); None where the row has nothing there."""
    better: Better


# As JSON


def result(comparison: Comparison) -> dict[str, Any]:
    """The whole of it, as `--json` prints it. "base", the base model's row, is there with
    --temperatures."""
    record: dict[str, Any] = {
        "comparison": str(comparison.path),
        "seeds": comparison.seeds,
        "target": comparison.target,
    }
    if comparison.config.temperatures:
        record["base"] = base(comparison)
    record["rows"] = rows(comparison)
    return record


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A JSON-able dict per method, in the order given. All runs must be finished.

    method         its label
    word           its word of the command line
    choice         {"by", "scores", "chosen", "settings"}; absent where nothing was chosen
    runs           folders
    mean@n, pass@n, entropy_error, seconds
                   {"value", "low", "high", "best"}; entropy_error is None without a
                   target. The ends are None where one seed gives no interval. best: the
                   paired 95% interval of the difference to every other row excludes 0.
                   With one seed no row is best: the noise of training is not known.
    at_best        with --temperatures alone: "temperature", the one with the largest mean
                   over seeds on validation problems, and mean@n and pass@n of all seeds
                   at it
    """
    methods = comparison.plan["methods"]
    runs_of = [comparison.runs(i) for i in range(len(methods))]
    cells = _cells(_columns(runs_of, comparison))
    best = _at_best(runs_of, comparison)
    table = []
    for i, record in enumerate(methods):
        row = {"method": label(comparison.method(i)), "word": record["word"]}
        if "choice" in record:
            settings = [label(from_json(setting)) for setting in record["settings"]]
            row["choice"] = {**record["choice"], "settings": settings}
        row["runs"] = [str(run.path) for run in runs_of[i]]
        for name, column in cells.items():
            row[name] = column[i]
        if best:
            row["at_best"] = best[i]
        table.append(row)
    return table


def base(comparison: Comparison) -> dict[str, Any]:
    """The row of the base model, from the first run: mean@n and pass@n with intervals over
    problems, and "at_best"."""
    n = comparison.config.eval_samples
    start = finished(comparison.runs(0)[0])["start"]
    row: dict[str, Any] = {"method": "base model"}
    best: dict[str, Any] = {"temperature": start["best_temperature"]}
    for name in (f"mean@{n}", f"pass@{n}"):
        row[name] = start[name]
        best[name] = at_best(start)[name]
    row["at_best"] = best
    return row


def _columns(runs_of: list[list[Run]], comparison: Comparison) -> dict[str, Column]:
    correct, errors, seconds = [], [], []
    for runs in runs_of:
        summaries = [finished(run) for run in runs]
        correct.append(np.array([summary["correct"] for summary in summaries]))
        errors.append(_errors(runs, comparison.target))
        seconds.append(np.array([summary["seconds"] for summary in summaries]))
    return {
        **_score_columns(correct, comparison.config.eval_samples),
        "entropy_error": Column(errors, min),
        "seconds": Column(seconds, min),
    }


def _score_columns(correct: list[np.ndarray], n: int) -> dict[str, Column]:
    """mean@n and pass@n from each row's right samples, (seeds, problems)."""
    means, passes = [], []
    for right in correct:
        means.append(right / n)
        passes.append(np.asarray(pass_at_k(n, right, n)))
    return {f"mean@{n}": Column(means, max), f"pass@{n}": Column(passes, max)}


def _errors(runs: list[Run], target: float | None) -> np.ndarray | None:
    """Of each seed, the mean relative distance of entropy to its target; None where there
    is no target."""
    errors = []
    for run in runs:
        first = min(FROM_ROLLOUT, run.config["steps"] // 2)
        distances = []
        for line in lines(run)[first:]:
            aim = target or line["target"]
            # a rollout without a trained token has no entropy
            if line["entropy"] is None:
                continue
            if aim is None:
                return None
            distances.append(abs(line["entropy"] - aim) / aim)
        if not distances:
            return None
        errors.append(statistics.fmean(distances))
    return np.array(errors)


# At the best temperature


def _at_best(
    runs_of: list[list[Run]], comparison: Comparison
) -> list[dict[str, float | dict[str, Any] | None]]:
    """Of each row "temperature" and its scores there; empty where there is one
    temperature."""
    if not comparison.config.temperatures:
        return []
    temperatures, correct = [], []
    for runs in runs_of:
        best = _best_temperature(runs)
        temperatures.append(best)
        right = [finished(run)["by_temperature"][best]["correct"] for run in runs]
        correct.append(np.array(right))
    cells = _cells(_score_columns(correct, comparison.config.eval_samples))
    table = []
    for i, temperature in enumerate(temperatures):
        row: dict[str, Any] = {"temperature": float(temperature)}
        for name, column in cells.items():
            row[name] = column[i]
        table.append(row)
    return table


def _best_temperature(runs: list[Run]) -> str:
    """Of a method's runs together, so that all its seeds are scored at one. Ties go to the
    higher, as in a run."""
    validations = [finished(run)["validation"] for run in runs]
    means = {}
    for temperature in validations[0]:
        mean = statistics.fmean(scores[temperature] for scores in validations)
        # rounded: seeds that differ may have the same sum, which must count as a tie
        means[temperature] = round(mean, 12)
    return max(means, key=lambda temperature: (means[temperature], float(temperature)))


# Cells


def _cells(columns: dict[str, Column]) -> dict[str, list[dict[str, Any] | None]]:
    cells = {}
    for name, column in columns.items():
        cells[name] = _column(list(column.values), column.better)
    return cells


def _column(
    values: list[np.ndarray | None], better: Better
) -> list[dict[str, Any] | None]:
    """A cell per row, from (seeds, problems) or (seeds,) arrays."""
    best = _best(values, better)
    cells: list[dict[str, Any] | None] = []
    for row, measured in enumerate(values):
        if measured is None:
            cells.append(None)
            continue
        interval = _interval(measured)
        cell: dict[str, Any] = {
            "value": float(measured.mean()),
            "low": None,
            "high": None,
            "best": row == best,
        }
        if interval is not None:
            cell |= {"low": interval.low, "high": interval.high}
        cells.append(cell)
    return cells


def _best(values: list[np.ndarray | None], better: Better) -> int | None:
    """The row that is better than every other one for sure; None where none is."""
    known: dict[int, np.ndarray] = {}
    for row, measured in enumerate(values):
        if measured is not None:
            known[row] = measured
    if len(known) < 2:
        return None
    best = better(known, key=lambda row: known[row].mean())
    # one seed says nothing of the noise of training
    if len(known[best]) < 2:
        return None
    for row, measured in known.items():
        # the same seeds and problems: differences are paired
        if row != best and not _excludes_zero(_interval(known[best] - measured)):
            return None
    return best


def _excludes_zero(interval: Interval | None) -> bool:
    return interval is not None and not interval.low <= 0 <= interval.high


def _interval(values: np.ndarray) -> Interval | None:
    """Over seeds and problems, or over seeds; None for one seed without problems."""
    if values.ndim == 2:
        return hierarchical_interval(values)
    return seed_interval(values) if len(values) > 1 else None


# For a terminal


def table(compared: dict[str, Any], config: Any) -> Table:
    """What `result` gave, for a terminal: a row per model, and with --temperatures one
    more, at its best one."""
    n, seeds = config.eval_samples, len(compared["seeds"])
    problems = f"{config.eval_problems} held-out problems, {n} samples each"
    shown = Table(
        title=f"{config.dataset or config.task}: {problems}, {seeds} seeds",
        caption="\n".join(_notes(compared)),
        caption_justify="left",
    )
    shown.add_column("")
    columns = (f"mean@{n}", f"pass@{n}", "entropy_error", "seconds")
    for column in columns:
        shown.add_column(column.replace("_", " "), justify="right")
    models = list(compared["rows"])
    if "base" in compared:
        models.insert(0, compared["base"])
    for row in models:
        shown.add_row(row["method"], *_score_cells(row, columns))
        if "at_best" in row:
            best = row["at_best"]
            shown.add_row(best_label(best["temperature"]), *_score_cells(best, columns))
    return shown


def _notes(compared: dict[str, Any]) -> list[str]:
    """The lines below the table."""
    scores = "over problems: one seed says nothing of the noise of training"
    if len(compared["seeds"]) > 1:
        scores = "over seeds and problems"
    notes = [
        f"95% intervals: scores {scores}; error and seconds over seeds. entropy error: "
        f"mean |H - H*|/H* from rollout {FROM_ROLLOUT} on. bold: best, by the paired "
        "interval of the difference to every other row."
    ]
    if "base" in compared:
        notes.append(
            "best temperature: the largest mean@n on validation problems, over all seeds "
            "of a method."
        )
    for row in compared["rows"]:
        if "choice" in row:
            notes.append(_choice(row))
    return notes


def _choice(row: dict[str, Any]) -> str:
    """Which settings a method was tried at, and how the one of the table was chosen."""
    choice = row["choice"]
    scores = []
    for name, score in zip(choice["settings"], choice["scores"], strict=True):
        scores.append(f"{name} {score:.3f}")
    return f"chosen: {row['method']}, by {choice['by']} ({'; '.join(scores)})"


def _score_cells(row: dict[str, Any], columns: Sequence[str]) -> list[ScoreCell]:
    cells = []
    for name in columns:
        digits = 0 if name == "seconds" else 3
        cells.append(_score_cell(row[name], digits) if name in row else ScoreCell(""))
    return cells


def _score_cell(cell: dict[str, Any] | None, digits: int) -> ScoreCell:
    """A cell for rich; a dash where the row has nothing there."""
    if cell is None:
        return ScoreCell("-")
    text = f"{cell['value']:.{digits}f}"
    if cell["low"] is not None:
        text += f" [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"
    return ScoreCell(text, "bold" if cell.get("best") else "")
