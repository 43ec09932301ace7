"""Tables of an evaluation and of a comparison, for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from entrostat.texts import interval_text


def scores_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """`scores` by benchmark, a column each."""
    table = Table(
        caption="95% intervals over problems; entropy: of the sampler, nats per token; "
        "tokens: of a completion"
    )
    table.add_column("measure")
    for name in results:
        table.add_column(name, justify="right")
    all_scores = list(results.values())
    sizes = []
    truncated = []
    not_judged = []
    for scores in all_scores:
        sizes.append(f"{scores['problems']} x {scores['samples']}")
        truncated.append(f"{scores['truncated']:.1%}")
        not_judged.append(scores["not judged"])
    table.add_row("problems x samples", *sizes)
    _add_scores(table, f"mean@{all_scores[0]['samples']}", all_scores)
    for kind in ("pass", "maj"):
        by_k = [scores[f"{kind}@k"] for scores in all_scores]
        for k in by_k[0]:
            if k != "1":  # that is the mean
                _add_intervals(table, f"{kind}@{k}", [one[k] for one in by_k])
    _add_scores(table, "entropy", all_scores)
    _add_scores(table, "tokens", all_scores, digits=1)
    table.add_row("truncated", *truncated)
    if any(not_judged):
        table.add_row("not judged (count as wrong)", *map(str, not_judged))
    return table


def _add_scores(
    table: Table, name: str, all_scores: Sequence[Mapping[str, Any]], digits: int = 3
) -> None:
    """A row of the score of that name of each benchmark."""
    _add_intervals(table, name, [scores[name] for scores in all_scores], digits)


def _add_intervals(
    table: Table,
    name: str,
    intervals: Sequence[Mapping[str, float] | None],
    digits: int = 3,
) -> None:
    """A row of a number and its interval for each benchmark."""
    cells = []
    for interval in intervals:
        known = interval is not None
        cells.append(interval_text(**interval, digits=digits) if known else "not known")
    table.add_row(name, *cells)


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """What `compare` gives, a row for each benchmark and measure."""
    table = Table(
        caption="difference: B - A, its 95% interval over problems; p: paired sign "
        "flips, two-sided, each its own"
    )
    for column in ("benchmark", "measure"):
        table.add_column(column)
    for column in ("A", "B", "difference", "p"):
        table.add_column(column, justify="right")
    for benchmark, rows in comparison["benchmarks"].items():
        for measure, row in rows.items():
            digits = 1 if measure == "tokens" else 3
            difference = interval_text(
                row["difference"], row["low"], row["high"], digits
            )
            a = f"{row['a']:.{digits}f}"
            b = f"{row['b']:.{digits}f}"
            p = f"{row['p']:.4f}"
            table.add_row(benchmark, measure, a, b, difference, p)
    return table
