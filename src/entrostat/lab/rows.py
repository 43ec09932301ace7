"""The table of a comparison: a row a method, each score with its interval, bold where it is the best for sure."""

import statistics
from typing import Any

import numpy as np
from rich.table import Table

from entrostat.estimate import Interval, hierarchical_interval, pass_at_k, seed_interval
from entrostat.lab.compare import Comparison, lines
from entrostat.lab.methods import from_json, label
from entrostat.lab.run import Run
from entrostat.lab.show import finished

FROM_ROLLOUT = 30
"""Entropy errors are means from this rollout on, or from the run's middle where that is earlier."""


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A JSON-able dict a method, in the order given; needs all runs finished.

    "method" (its label), "word", "choice" ({"by", "scores", "chosen", "settings"}, absent where nothing was chosen),
    "runs" (folders), and mean@n, pass@n, "entropy_error" (None without a target), "seconds": {"value", "low", "high",
    "best"}, the ends None where one seed gives no interval. best: the paired 95% interval of the difference to every
    other row excludes 0. With one seed no row is best: the noise of training is not known.
    """
    runs = [comparison.runs(i) for i in range(len(comparison.plan["methods"]))]
    n = comparison.config.eval_samples
    columns = {
        f"mean@{n}": ([_correct(each) / n for each in runs], max),
        f"pass@{n}": ([np.asarray(pass_at_k(n, _correct(each), n)) for each in runs], max),
        "entropy_error": ([_errors(each, comparison.target) for each in runs], min),
        "seconds": ([np.array([finished(run)["seconds"] for run in each]) for each in runs], min),
    }
    cells = {name: _column(values, better) for name, (values, better) in columns.items()}
    out = []
    for i, record in enumerate(comparison.plan["methods"]):
        row = {"method": label(comparison.method(i)), "word": record["word"]}
        if "choice" in record:
            row["choice"] = record["choice"] | {"settings": [label(from_json(s)) for s in record["settings"]]}
        row["runs"] = [str(run.path) for run in runs[i]]
        out.append(row | {name: column[i] for name, column in cells.items()})
    return out


def result(comparison: Comparison) -> dict[str, Any]:
    """The whole of it, as `--json` prints it."""
    return {
        "comparison": str(comparison.path),
        "seeds": comparison.seeds,
        "target": comparison.target,
        "rows": rows(comparison),
    }


def table(found: dict[str, Any], config: Any) -> Table:
    """What `result` gave, for a terminal."""
    n, seeds = config.eval_samples, len(found["seeds"])
    out = Table(
        title=f"{config.dataset or config.task}: {config.eval_problems} held-out problems, {n} samples each, "
        f"{seeds} seeds",
        caption="\n".join([_note(seeds), *(_choice(row) for row in found["rows"] if "choice" in row)]),
        caption_justify="left",
    )
    out.add_column("")
    columns = (f"mean@{n}", f"pass@{n}", "entropy_error", "seconds")
    for column in columns:
        out.add_column(column.replace("_", " "), justify="right")
    for row in found["rows"]:
        out.add_row(row["method"], *(_cell(row[name], 0 if name == "seconds" else 3) for name in columns))
    return out


def _note(seeds: int) -> str:
    scores = "over seeds and problems" if seeds > 1 else "over problems: one seed says nothing of the noise of training"
    return (
        f"95% intervals: scores {scores}; error and seconds over seeds. entropy error: mean |H - H*|/H* from rollout "
        f"{FROM_ROLLOUT} on. bold: best, by the paired interval of the difference to every other row."
    )


def _choice(row: dict[str, Any]) -> str:
    choice = row["choice"]
    scored = "; ".join(f"{name} {score:.3f}" for name, score in zip(choice["settings"], choice["scores"], strict=True))
    return f"chosen: {row['method']}, by {choice['by']} ({scored})"


def _cell(cell: dict[str, Any] | None, digits: int) -> str:
    if cell is None:
        return "-"
    text = f"{cell['value']:.{digits}f}"
    if cell["low"] is not None:
        text += rf" \[{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"
    return f"[bold]{text}[/bold]" if cell["best"] else text


def _correct(runs: list[Run]) -> np.ndarray:
    """Right samples, (seeds, problems)."""
    return np.array([finished(run)["correct"] for run in runs])


def _errors(runs: list[Run], target: float | None) -> np.ndarray | None:
    """Of each seed, the mean relative distance of entropy to its target; None where there is no target."""
    out = []
    for run in runs:
        late = lines(run)[min(FROM_ROLLOUT, run.config["steps"] // 2) :]
        pairs = [(line["entropy"], target or line["target"]) for line in late if line["entropy"] is not None]
        if not pairs or any(aim is None for _, aim in pairs):
            return None
        out.append(statistics.fmean(abs(h - aim) / aim for h, aim in pairs))
    return np.array(out)


def _column(values: list[np.ndarray | None], better: Any) -> list[dict[str, Any] | None]:
    """A cell a row, from (seeds, problems) or (seeds,) arrays."""
    best = _best(values, better)
    cells: list[dict[str, Any] | None] = []
    for i, x in enumerate(values):
        if x is None:
            cells.append(None)
            continue
        found = _interval(x)
        low, high = (found.low, found.high) if found else (None, None)
        cells.append({"value": float(x.mean()), "low": low, "high": high, "best": i == best})
    return cells


def _best(values: list[np.ndarray | None], better: Any) -> int | None:
    known = {i: x for i, x in enumerate(values) if x is not None}
    if len(known) < 2 or len(next(iter(known.values()))) < 2:
        return None
    best = better(known, key=lambda i: known[i].mean())
    sure = all(_excludes_zero(_interval(known[best] - x)) for i, x in known.items() if i != best)
    return best if sure else None


def _excludes_zero(interval: Interval | None) -> bool:
    return interval is not None and not interval.low <= 0 <= interval.high


def _interval(x: np.ndarray) -> Interval | None:
    if x.ndim == 2:
        return hierarchical_interval(x)
    return seed_interval(x) if len(x) > 1 else None
