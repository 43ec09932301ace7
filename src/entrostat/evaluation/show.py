"""What an evaluation looks like on a terminal: a line now and then while it goes, a table when it is done."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from entrostat.evaluation.run import Watcher
from entrostat.texts import interval_text


class Screen(Watcher):
    """Warnings, and the progress by problems, on stderr: one line that moves where it is a terminal."""

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr)

    def progress(self, benchmark: str, done: int, problems: int) -> None:
        moving = sys.stderr.isatty() and done < problems
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(
            f"{clear}{benchmark}: {done}/{problems} problems",
            end="" if moving else "\n",
            file=sys.stderr,
            flush=True,
        )


def scores_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """`scores` by benchmark, a column each."""
    out = Table(
        caption="95% intervals over problems; entropy: of the sampler, nats per token; tokens: of a completion"
    )
    out.add_column("measure")
    for name in results:
        out.add_column(name, justify="right")
    n = next(iter(results.values()))["samples"]
    found = list(results.values())
    out.add_row(
        "problems x samples",
        *(f"{one['problems']} x {one['samples']}" for one in found),
    )
    out.add_row(f"mean@{n}", *(_cell(one[f"mean@{n}"]) for one in found))
    for kind in ("pass", "maj"):
        for k in found[0][f"{kind}@k"]:
            if k != "1":  # that is the mean
                out.add_row(
                    f"{kind}@{k}", *(_cell(one[f"{kind}@k"][k]) for one in found)
                )
    out.add_row("entropy", *(_cell(one["entropy"]) for one in found))
    out.add_row("tokens", *(_cell(one["tokens"], 1) for one in found))
    out.add_row("truncated", *(f"{100 * one['truncated']:.1f}%" for one in found))
    if any(one["not judged"] for one in found):
        out.add_row(
            "not judged (count as wrong)", *(str(one["not judged"]) for one in found)
        )
    return out


def comparison_table(result: Mapping[str, Any]) -> Table:
    """What `compare` found, a row a benchmark and measure."""
    out = Table(
        caption="difference: B - A, its 95% interval over problems; p: paired sign flips, two-sided, each its own"
    )
    for column in ("benchmark", "measure"):
        out.add_column(column)
    for column in ("A", "B", "difference", "p"):
        out.add_column(column, justify="right")
    for name, rows in result["benchmarks"].items():
        for measure, row in rows.items():
            places = 1 if measure == "tokens" else 3
            difference = _cell(
                {"value": row["difference"], "low": row["low"], "high": row["high"]},
                places,
            )
            out.add_row(
                name,
                measure,
                f"{row['a']:.{places}f}",
                f"{row['b']:.{places}f}",
                difference,
                f"{row['p']:.4f}",
            )
    return out


def _cell(interval: Mapping[str, float] | None, places: int = 3) -> str:
    if interval is None:
        return "not known"
    return interval_text(**interval, digits=places)
