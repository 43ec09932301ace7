"""The table of a comparison: a row a method, each score with its interval, bold where it is the best for sure."""

import statistics
from typing import Any

import numpy as np
from rich.table import Table

from entrostat.estimate import Interval, hierarchical_interval, pass_at_k, seed_interval
from entrostat.lab.compare import Comparison, lines
from entrostat.lab.evaluate import at_best
from entrostat.lab.methods import from_json, label
from entrostat.lab.run import Run
from entrostat.lab.show import best_label, finished

FROM_ROLLOUT = 30
"""Entropy errors are means from this rollout on, or from the run's middle where that is earlier."""


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A JSON-able dict a method, in the order given; needs all runs finished.

    "method" (its label), "word", "choice" ({"by", "scores", "chosen", "settings"}, absent where nothing was chosen),
    "runs" (folders), and mean@n, pass@n, "entropy_error" (None without a target), "seconds": {"value", "low", "high",
    "best"}, the ends None where one seed gives no interval. best: the paired 95% interval of the difference to every
    other row excludes 0. With one seed no row is best: the noise of training is not known. With --temperatures there
    is "at_best" too: "temperature", the one with the largest mean over seeds on validation problems, and mean@n and
    pass@n of all seeds at it.
    """
    runs = [comparison.runs(i) for i in range(len(comparison.plan["methods"]))]
    n = comparison.config.eval_samples
    columns = {
        **_score_columns([_correct(each) for each in runs], n),
        "entropy_error": ([_errors(each, comparison.target) for each in runs], min),
        "seconds": (
            [np.array([finished(run)["seconds"] for run in each]) for each in runs],
            min,
        ),
    }
    cells = {
        name: _column(values, better) for name, (values, better) in columns.items()
    }
    temperatures = (
        [_best_temperature(each) for each in runs]
        if comparison.config.temperatures
        else []
    )
    best = _at_best(runs, temperatures, n)
    out = []
    for i, record in enumerate(comparison.plan["methods"]):
        row = {"method": label(comparison.method(i)), "word": record["word"]}
        if "choice" in record:
            row["choice"] = record["choice"] | {
                "settings": [label(from_json(s)) for s in record["settings"]]
            }
        row["runs"] = [str(run.path) for run in runs[i]]
        row |= {name: column[i] for name, column in cells.items()}
        out.append(row | ({"at_best": best[i]} if best else {}))
    return out


def _score_columns(
    correct: list[np.ndarray], n: int
) -> dict[str, tuple[list[np.ndarray], Any]]:
    """mean@n and pass@n of each row's right samples, and what is better."""
    means = [each / n for each in correct]
    passed = [np.asarray(pass_at_k(n, each, n)) for each in correct]
    return {f"mean@{n}": (means, max), f"pass@{n}": (passed, max)}


def _best_temperature(runs: list[Run]) -> str:
    """Of a method's runs together, so that all its seeds are scored at one. Ties go to the higher, as in a run."""
    validated = [finished(run)["validation"] for run in runs]
    # rounded: seeds that differ may have the same sum, which must count as a tie
    means = {
        key: round(statistics.fmean(each[key] for each in validated), 12)
        for key in validated[0]
    }
    return max(means, key=lambda key: (means[key], float(key)))


def _at_best(
    runs: list[list[Run]], temperatures: list[str], n: int
) -> list[dict[str, Any]]:
    """Of each row "temperature" and its scores there; nothing where there is one temperature."""
    correct = [
        np.array(
            [finished(run)["by_temperature"][temperature]["correct"] for run in each]
        )
        for each, temperature in zip(runs, temperatures, strict=False)
    ]
    cells = {
        name: _column(list(values), better)
        for name, (values, better) in _score_columns(correct, n).items()
    }
    return [
        {"temperature": float(temperature)}
        | {name: column[i] for name, column in cells.items()}
        for i, temperature in enumerate(temperatures)
    ]


def base(comparison: Comparison) -> dict[str, Any]:
    """The row of the base model, from the first run: mean@n and pass@n with intervals over problems, and "at_best"."""
    n = comparison.config.eval_samples
    start = finished(comparison.runs(0)[0])["start"]
    names = (f"mean@{n}", f"pass@{n}")
    best = {"temperature": start["best_temperature"]} | {
        name: at_best(start)[name] for name in names
    }
    return (
        {"method": "base model"}
        | {name: start[name] for name in names}
        | {"at_best": best}
    )


def result(comparison: Comparison) -> dict[str, Any]:
    """The whole of it, as `--json` prints it. "base", the base model's row, is there with --temperatures."""
    several = bool(comparison.config.temperatures)
    return {
        "comparison": str(comparison.path),
        "seeds": comparison.seeds,
        "target": comparison.target,
        **({"base": base(comparison)} if several else {}),
        "rows": rows(comparison),
    }


def table(found: dict[str, Any], config: Any) -> Table:
    """What `result` gave, for a terminal: of each model a row, and with --temperatures one more, at its best one."""
    n, seeds = config.eval_samples, len(found["seeds"])
    notes = [_note(seeds), *(_choice(row) for row in found["rows"] if "choice" in row)]
    if "base" in found:
        notes.insert(
            1,
            "best temperature: the largest mean@n on validation problems, over all seeds of a method.",
        )
    out = Table(
        title=f"{config.dataset or config.task}: {config.eval_problems} held-out problems, {n} samples each, "
        f"{seeds} seeds",
        caption="\n".join(notes),
        caption_justify="left",
    )
    out.add_column("")
    columns = (f"mean@{n}", f"pass@{n}", "entropy_error", "seconds")
    for column in columns:
        out.add_column(column.replace("_", " "), justify="right")
    for row in [*([found["base"]] if "base" in found else []), *found["rows"]]:
        out.add_row(
            row["method"],
            *(_shown(row, name, 0 if name == "seconds" else 3) for name in columns),
        )
        if "at_best" in row:
            best = row["at_best"]
            out.add_row(
                best_label(best["temperature"]),
                *(_shown(best, name, 3) for name in columns),
            )
    return out


def _note(seeds: int) -> str:
    scores = (
        "over seeds and problems"
        if seeds > 1
        else "over problems: one seed says nothing of the noise of training"
    )
    return (
        f"95% intervals: scores {scores}; error and seconds over seeds. entropy error: mean |H - H*|/H* from rollout "
        f"{FROM_ROLLOUT} on. bold: best, by the paired interval of the difference to every other row."
    )


def _choice(row: dict[str, Any]) -> str:
    choice = row["choice"]
    scored = "; ".join(
        f"{name} {score:.3f}"
        for name, score in zip(choice["settings"], choice["scores"], strict=True)
    )
    return f"chosen: {row['method']}, by {choice['by']} ({scored})"


def _shown(row: dict[str, Any], name: str, digits: int) -> str:
    """A cell of a row; empty where the row has no such column, a dash where the column has nothing for it."""
    if name not in row:
        return ""
    cell = row[name]
    if cell is None:
        return "-"
    text = f"{cell['value']:.{digits}f}"
    if cell["low"] is not None:
        text += rf" \[{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"
    return f"[bold]{text}[/bold]" if cell.get("best") else text


def _correct(runs: list[Run]) -> np.ndarray:
    """Right samples, (seeds, problems)."""
    return np.array([finished(run)["correct"] for run in runs])


def _errors(runs: list[Run], target: float | None) -> np.ndarray | None:
    """Of each seed, the mean relative distance of entropy to its target; None where there is no target."""
    out = []
    for run in runs:
        late = lines(run)[min(FROM_ROLLOUT, run.config["steps"] // 2) :]
        pairs = [
            (line["entropy"], target or line["target"])
            for line in late
            if line["entropy"] is not None
        ]
        if not pairs or any(aim is None for _, aim in pairs):
            return None
        out.append(statistics.fmean(abs(h - aim) / aim for h, aim in pairs))
    return np.array(out)


def _column(
    values: list[np.ndarray | None], better: Any
) -> list[dict[str, Any] | None]:
    """A cell a row, from (seeds, problems) or (seeds,) arrays."""
    best = _best(values, better)
    cells: list[dict[str, Any] | None] = []
    for i, x in enumerate(values):
        if x is None:
            cells.append(None)
            continue
        found = _interval(x)
        low, high = (found.low, found.high) if found else (None, None)
        cells.append(
            {"value": float(x.mean()), "low": low, "high": high, "best": i == best}
        )
    return cells


def _best(values: list[np.ndarray | None], better: Any) -> int | None:
    known = {i: x for i, x in enumerate(values) if x is not None}
    if len(known) < 2 or len(next(iter(known.values()))) < 2:
        return None
    best = better(known, key=lambda i: known[i].mean())
    sure = all(
        _excludes_zero(_interval(known[best] - x))
        for i, x in known.items()
        if i != best
    )
    return best if sure else None


def _excludes_zero(interval: Interval | None) -> bool:
    return interval is not None and not interval.low <= 0 <= interval.high


def _interval(x: np.ndarray) -> Interval | None:
    if x.ndim == 2:
        return hierarchical_interval(x)
    return seed_interval(x) if len(x) > 1 else None
