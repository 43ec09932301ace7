"""The table of results: base models, runs, and each label's mean over its seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from entrostat.report.figure import bounds, digits
from entrostat.report.look import Group, groups, has_seeds
from entrostat.report.read import Run
from entrostat.report.scores import Score
from entrostat.report.untrusted import number

DEFAULT_SCORES = ("mean@32", "pass@32")
"""The columns while no run has been evaluated."""
MOST_NAMES = 4
"""Runs that a base model's line names."""


@dataclass(frozen=True)
class Cell:
    """A score."""

    value: str
    """A dash where the run has no such score."""
    spread: str = ""
    """Its 95% interval, or for a mean the range of its seeds."""
    best: bool = False
    """Whether it stands in bold."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    label: str
    entropy: str
    """At the start and at the end; of a base model, over its runs."""
    cells: Sequence[Cell]
    """A score for each of `score_names`."""
    seed: str = ""
    """Of a mean, how many seeds."""
    seconds: str = ""
    """That the run took."""
    kind: str = ""
    """base or mean; empty for a run."""
    group: Group | None = None
    """The label's colour and marker; None for a base model."""
    state: str = ""
    """What stands behind the label, such as "unfinished"."""


def score_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The names of the scores that the runs have, mean@N before pass@N, each by N."""
    names: set[str] = set()
    for run in runs:
        names.update(run.end.scores, run.start.scores)

    def place(name: str) -> tuple[str, int]:
        kind, _, n = name.partition("@")
        return kind, int(n)

    if not names and all(run.foreign for run in runs):
        return ()
    return tuple(sorted(names, key=place)) or DEFAULT_SCORES


def rows(runs: Sequence[Run]) -> list[Row]:
    """All lines of the table, the base models first."""
    names = score_names(runs)
    # the best label of each column
    best = {name: best_label(runs, name) for name in names}
    lines = _base_rows(runs, names)
    for group in groups(runs):
        finished = [run for run in group.runs if run.finished]
        for run in group.runs:
            # a run that is alone stands for its label, else their mean does
            lines.append(_run_row(run, group, best, in_bold=len(finished) == 1))
        if len(finished) > 1:
            lines.append(_mean_row(group, finished, best))
    return lines


def best_label(runs: Sequence[Run], name: str) -> str | None:
    """The label that is better than all others by the score `name`.

    Every interval of its runs lies above every interval of all other labels. None when
    intervals overlap or touch, when one is missing, or when fewer than two labels have
    the score. The base model is not compared: the question is which method did better.
    """
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    for run in runs:
        score = run.end.scores.get(name)
        if score is None:
            continue
        if score.low is None or score.high is None:
            return None
        lowest[run.label] = min(score.low, lowest.get(run.label, score.low))
        highest[run.label] = max(score.high, highest.get(run.label, score.high))
    if len(lowest) < 2:
        return None
    winner = max(lowest, key=lambda label: lowest[label])
    del highest[winner]
    return winner if lowest[winner] > max(highest.values()) else None


def terms(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the columns mean, a line each."""
    if all(run.foreign for run in runs):
        meaning = (
            "in nats per token, means of the first and the last twentieth of the log"
        )
        return [("entropy", meaning)]
    meaning = (
        "mean entropy of the sampling policy, in nats per token, on held-out problems "
        "before and after training"
    )
    if not all(run.finished for run in runs):
        meaning += "; of an unfinished run, in its first and its last rollout"
    lines = [("entropy", meaning)]
    for name in score_names(runs):
        lines.append((name, _score_meaning(name)))
    lines.append(("[low, high]", "95% interval"))
    grouped = groups(runs)
    if len(grouped) > 1:
        meaning = (
            "the best of a column, only where its interval overlaps no other's (the "
            "base model is not compared)"
        )
        lines.append(("bold", meaning))
    if has_seeds(grouped):
        meaning = (
            "over the finished runs of a label; in parentheses the lowest and the "
            "highest seed"
        )
        lines.append(("mean of seeds", meaning))
    return lines


def _score_meaning(name: str) -> str:
    kind, _, n = name.partition("@")
    if kind == "mean":
        return (
            f"share of right answers among {n} samples per problem, averaged over "
            "held-out problems"
        )
    return (
        f"share of held-out problems with at least one right answer among {n} samples"
    )


def _base_rows(runs: Sequence[Run], names: Sequence[str]) -> list[Row]:
    """A line for each base model.

    Two evaluations with unequal scores are two lines: other models, or other draws.
    """
    by_scores: list[tuple[Mapping[str, Score], list[Run]]] = []
    for run in runs:
        if not run.start.scores:
            continue
        for scores, peers in by_scores:
            if scores == run.start.scores:
                peers.append(run)
                break
        else:
            by_scores.append((run.start.scores, [run]))
    lines = []
    for scores, peers in by_scores:
        cells = [_cell(scores.get(name)) for name in names]
        starts = [run.entropies()[0] for run in peers]
        line = Row(
            label="base model",
            entropy=_range(_known(starts)),
            cells=cells,
            kind="base",
            state=f"of {_names(peers)}" if len(by_scores) > 1 else "",
        )
        lines.append(line)
    return lines


def _names(runs: Sequence[Run]) -> str:
    """The names of the first few runs."""
    names = [run.name for run in runs[:MOST_NAMES]]
    if len(runs) > MOST_NAMES:
        names.append("…")
    return "; ".join(names)


def _run_row(
    run: Run, group: Group, best: Mapping[str, str | None], *, in_bold: bool
) -> Row:
    """The line of a run. `best` is the best label by score, which `in_bold` shows."""
    cells = []
    for name, label in best.items():
        is_best = in_bold and label == run.label
        cells.append(_cell(run.end.scores.get(name), is_best))
    seconds = number((run.summary or {}).get("seconds"))
    return Row(
        label=run.label,
        seed="" if run.seed is None else str(run.seed),
        entropy=_change(*run.entropies()),
        cells=cells,
        seconds="–" if seconds is None else f"{seconds:,.0f}",
        group=group,
        state="" if run.finished else "unfinished",
    )


def _mean_row(group: Group, runs: Sequence[Run], best: Mapping[str, str | None]) -> Row:
    """The line of a label's mean over its finished runs."""
    starts, ends = zip(*map(Run.entropies, runs), strict=True)
    cells = []
    for name, label in best.items():
        cells.append(_mean_cell(runs, name, label == group.label))
    return Row(
        label=group.label,
        seed=f"{len(runs)} seeds",
        entropy=_change(_mean(starts), _mean(ends)),
        cells=cells,
        kind="mean",
        group=group,
        state="mean of seeds",
    )


def _mean_cell(runs: Sequence[Run], name: str, best: bool) -> Cell:
    """The mean of a score over the runs that have it, and their range."""
    values = [run.end.scores[name].value for run in runs if name in run.end.scores]
    if not values:
        return Cell("–")
    seeds = f"({digits(min(values))} to {digits(max(values))})"
    return Cell(digits(fmean(values)), seeds, best)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None


def _change(start: float | None, end: float | None) -> str:
    """`0.430 → 0.080`, a dash for an end that is not known."""
    if start is None and end is None:
        return "–"
    return f"{digits(start)} → {digits(end)}"


def _range(values: Sequence[float]) -> str:
    """`0.410 to 0.430`, one number where both ends read the same."""
    if not values:
        return "–"
    low, high = digits(min(values)), digits(max(values))
    return low if low == high else f"{low} to {high}"


def _cell(score: Score | None, best: bool = False) -> Cell:
    if score is None:
        return Cell("–")
    return Cell(digits(score.value), bounds(score), best)
