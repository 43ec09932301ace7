"""The table of results: a line for each base model, each run, and each label's mean over its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from entrostat.report.plots import Group, digits, groups
from entrostat.report.read import Run, Score, number

DEFAULT_SCORES = ("mean@32", "pass@32")
"""The columns while no run has been evaluated."""


@dataclass(frozen=True)
class Cell:
    """A score."""

    value: str
    spread: str = ""
    """Its 95% interval, or for a mean the range of its seeds."""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table; `kind` is `base`, `mean` or empty for a run."""

    label: str
    entropy: str
    cells: tuple[Cell, ...]
    seed: str = ""
    seconds: str = ""
    kind: str = ""
    group: Group | None = None
    state: str = ""


def score_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The names of the scores that the runs have, mean@N before pass@N and each by N."""
    names = {name for run in runs for name in (*run.end.scores, *run.start.scores)}

    def place(name: str) -> tuple[str, int]:
        kind, _, n = name.partition("@")
        return kind, int(n)

    return tuple(sorted(names, key=place)) or DEFAULT_SCORES


def rows(runs: Sequence[Run]) -> list[Row]:
    """All lines of the table, the base models first."""
    names = score_names(runs)
    best = {name: best_label(runs, name) for name in names}
    lines = _base_rows(runs, names)
    for group in groups(runs):
        finished = [run for run in group.runs if run.finished]
        alone = len(finished) == 1
        for run in group.runs:
            cells = tuple(
                _cell(run.end.scores.get(name), alone and best[name] == run.label)
                for name in names
            )
            lines.append(_run_row(run, group, cells))
        if not alone and finished:
            lines.append(_mean_row(group, finished, names, best))
    return lines


def best_label(runs: Sequence[Run], name: str) -> str | None:
    """The label whose every interval of the score `name` lies above every interval of all other labels.

    None when intervals overlap or touch, when one is missing, or when fewer than two labels have the score. The base
    model is not compared: the question is which method did better.
    """
    scored = [
        (run.label, score)
        for run in runs
        if (score := run.end.scores.get(name)) is not None
    ]
    if not scored or any(
        score.low is None or score.high is None for _, score in scored
    ):
        return None
    winner = max(scored, key=lambda pair: pair[1].value)[0]
    lowest = min(
        score.low
        for label, score in scored
        if label == winner and score.low is not None
    )
    others = [
        score.high
        for label, score in scored
        if label != winner and score.high is not None
    ]
    return winner if others and lowest > max(others) else None


def terms(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the columns mean, a line each."""
    meaning = "mean entropy of the sampling policy, in nats a token, on held-out problems before and after training"
    if not all(run.finished for run in runs):
        meaning += "; of an unfinished run, in its first and its last rollout"
    lines = [("entropy", meaning)]
    for name in score_names(runs):
        kind, _, n = name.partition("@")
        if kind == "mean":
            lines.append(
                (
                    name,
                    f"share of right answers among {n} samples a problem, averaged over held-out problems",
                )
            )
        else:
            lines.append(
                (
                    name,
                    f"share of held-out problems with at least one right answer among {n} samples",
                )
            )
    lines.append(("[low, high]", "95% interval"))
    if len(groups(runs)) > 1:
        meaning = "the best of a column, only where its interval overlaps no other's (the base model is not compared)"
        lines.append(("bold", meaning))
    if any(len(group.runs) > 1 for group in groups(runs)):
        lines.append(
            (
                "mean of seeds",
                "over the finished runs of a label; in parentheses the lowest and the highest seed",
            )
        )
    return lines


def _base_rows(runs: Sequence[Run], names: Sequence[str]) -> list[Row]:
    """A line for each base model. Two evaluations with other scores are two lines: other models, or other draws."""
    by_scores: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.start.scores:
            by_scores.setdefault(tuple(sorted(run.start.scores.items())), []).append(
                run
            )
    several = len(by_scores) > 1
    return [
        Row(
            label="base model",
            entropy=_spread([run.entropies()[0] for run in peers]),
            cells=tuple(_cell(peers[0].start.scores.get(name)) for name in names),
            kind="base",
            state=f"of {'; '.join(run.name for run in peers[:4])}{'; …' if peers[4:] else ''}"
            if several
            else "",
        )
        for peers in by_scores.values()
    ]


def _run_row(run: Run, group: Group, cells: tuple[Cell, ...]) -> Row:
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


def _mean_row(
    group: Group,
    runs: Sequence[Run],
    names: Sequence[str],
    best: Mapping[str, str | None],
) -> Row:
    return Row(
        label=group.label,
        seed=f"{len(runs)} seeds",
        entropy=_change(
            *(_mean([run.entropies()[end] for run in runs]) for end in (0, 1))
        ),
        cells=tuple(
            _mean_cell(runs, name, best[name] == group.label) for name in names
        ),
        kind="mean",
        group=group,
        state="mean of seeds",
    )


def _mean_cell(runs: Sequence[Run], name: str, best: bool) -> Cell:
    values = [run.end.scores[name].value for run in runs if name in run.end.scores]
    if not values:
        return Cell("–")
    return Cell(
        digits(fmean(values)), f"({digits(min(values))} to {digits(max(values))})", best
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _change(start: float | None, end: float | None) -> str:
    return "–" if start is None and end is None else f"{digits(start)} → {digits(end)}"


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = digits(min(known)), digits(max(known))
    return low if low == high else f"{low} to {high}"


def _cell(score: Score | None, best: bool = False) -> Cell:
    if score is None:
        return Cell("–")
    spread = (
        f"[{digits(score.low)}, {digits(score.high)}]" if score.low is not None else ""
    )
    return Cell(digits(score.value), spread, best)
