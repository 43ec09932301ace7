"""What a run looks like on a terminal: a bar with a live line while it goes, a table when it is done."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from entrostat.lab.evaluate import at_best, spelt
from entrostat.lab.run import Run
from entrostat.lab.watch import Watcher
from entrostat.texts import interval_text

EVERY = 10
"""Rollouts between lines where stderr is no terminal."""


class Screen:
    """A bar for each run on stderr, and a line now and then where stderr is no terminal."""

    def __init__(self):
        self.console = Console(stderr=True, highlight=False)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[live]}", markup=False),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Screen":
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def watcher(self, run: Run, *, seeded: bool = False) -> Watcher:
        """Shows this run, under its label; with its seed where runs differ by it."""
        return _Bar(self, run, seeded)


class _Bar(Watcher):
    def __init__(self, screen: Screen, run: Run, seeded: bool):
        self.screen = screen
        config = run.config
        self.label, self.steps = config["label"], config["steps"]
        if seeded:
            self.label += f", seed {config['seed']}"
        self.task = screen.bars.add_task(self.label, total=self.steps, live="")

    def note(self, text: str) -> None:
        self.screen.console.print(f"{self.label}: {text}", markup=False, soft_wrap=True)

    def line(self, metrics: dict[str, Any]) -> None:
        live, done = live_line(metrics), metrics["step"] + 1
        self.screen.bars.update(self.task, completed=done, live=live)
        if self.screen.bars.disable and (
            metrics["step"] % EVERY == 0 or done == self.steps
        ):
            self.note(f"rollout {done}/{self.steps}  {live}")


@contextlib.contextmanager
def pretrain_bar(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on stderr for `pretrain`; gives what is to be called after each step."""
    with Screen() as screen:
        task = screen.bars.add_task("pretrain", total=steps, live="")
        yield lambda done, loss: screen.bars.update(
            task, completed=done, live=f"loss {loss:.3f}"
        )


def live_line(metrics: dict[str, Any]) -> str:
    """entropy, target where there is one, reward, shares of tokens clipped on the low and on the high side.

    "-" for what a rollout without a trained token, or without a reward, has none of.
    """
    target = (
        f" (target {metrics['target']:.3f})"
        if metrics.get("target") is not None
        else ""
    )
    entropy, reward = (
        "-" if metrics[key] is None else f"{metrics[key]:.3f}"
        for key in ("entropy", "reward")
    )
    clipped = (
        f"{100 * metrics['clip_low']:.1f}% low {100 * metrics['clip_high']:.1f}% high"
    )
    return f"entropy {entropy}{target}  reward {reward}  clipped {clipped}"


def table(runs: list[Run]) -> Table:
    """The base model, then each run: entropy before and after, mean@n and pass@n with 95% intervals, seconds.

    Below each, where scores were taken at several temperatures, those at its best one.
    """
    config = runs[0].config
    n = config["eval_samples"]
    name = config.get("dataset") or config["task"]
    caption = (
        "intervals: 95%, over problems; entropy: nats per token; seconds: of training"
    )
    start = finished(runs[0])["start"]
    if "best_temperature" in start:
        caption += f"\n{best_note(start)}"
    out = Table(
        title=f"{name}: {config['eval_problems']} held-out problems, {n} samples each",
        caption=caption,
    )
    out.add_column("")
    for column in ("entropy", f"mean@{n}", f"pass@{n}", "seconds"):
        out.add_column(column, justify="right", no_wrap=True)
    if start:
        out.add_row(
            "base model",
            f"{start['entropy']:.3f}",
            cell(start[f"mean@{n}"]),
            cell(start[f"pass@{n}"]),
            "",
        )
        _add_best(out, start, n)
    for run in runs:
        summary = finished(run)
        if not summary["start"]:  # nothing was scored
            out.add_row(run.config["label"], "", "", "", f"{summary['seconds']:.0f}")
            continue
        out.add_row(
            run.config["label"],
            f"{summary['entropy_start']:.3f} → {summary['entropy_end']:.3f}",
            cell(summary[f"mean@{n}"]),
            cell(summary[f"pass@{n}"]),
            f"{summary['seconds']:.0f}",
        )
        _add_best(out, summary, n)
    return out


def _add_best(out: Table, scores: dict[str, Any], n: int) -> None:
    if "best_temperature" not in scores:
        return
    best = at_best(scores)
    out.add_row(
        best_label(scores["best_temperature"]),
        f"{best['entropy']:.3f}",
        cell(best[f"mean@{n}"]),
        cell(best[f"pass@{n}"]),
        "",
    )


def best_label(temperature: float) -> str:
    """What the row of the scores at that temperature is called, below that of the model."""
    return f"  at its best temperature ({spelt(temperature)})"


def best_note(scores: dict[str, Any]) -> str:
    """How a best temperature was chosen, for a caption."""
    tried = ", ".join(scores["by_temperature"])
    return f"best temperature: of {tried}, by {_on_validation(scores)}"


def scores_table(scores: dict[str, Any]) -> Table | Group:
    """One model's scores; below them, where there are several temperatures, a row for each."""
    n = scores["samples"]
    out = Table(
        title=f"{len(scores['correct'])} held-out problems, {n} samples each, 95% intervals over problems"
    )
    out.add_column("measure")
    out.add_column("value", justify="right")
    out.add_row("entropy, nats per token", f"{scores['entropy']:.3f}")
    out.add_row(f"mean@{n}", cell(scores[f"mean@{n}"]))
    for k, interval in scores["pass@k"].items():
        out.add_row(f"pass@{k}", cell(interval))
    return (
        Group(out, _temperatures_table(scores)) if "by_temperature" in scores else out
    )


def _temperatures_table(scores: dict[str, Any]) -> Table:
    n = scores["samples"]
    chosen = spelt(scores["best_temperature"])
    out = Table(
        title="by temperature of the sampler",
        caption=f"bold: best, by {_on_validation(scores)}",
    )
    for column in (
        "temperature",
        _on_validation(scores),
        "entropy",
        f"mean@{n}",
        f"pass@{n}",
    ):
        out.add_column(column, justify="right")
    for temperature, one in scores["by_temperature"].items():
        out.add_row(
            temperature,
            f"{scores['validation'][temperature]:.3f}",
            f"{one['entropy']:.3f}",
            cell(one[f"mean@{n}"]),
            cell(one[f"pass@{n}"]),
            style="bold" if temperature == chosen else None,
        )
    return out


def result(runs: list[Run]) -> list[dict[str, Any]]:
    """The summaries, each with its run's folder, label and seed."""
    return [
        {
            "run": str(r.path),
            "label": r.config["label"],
            "seed": r.config["seed"],
            **finished(r),
        }
        for r in runs
    ]


def finished(run: Run) -> dict[str, Any]:
    """The summary of a run that is over. ValueError for another."""
    summary = run.summary
    if summary is None:
        raise ValueError(
            f"{run.path} is not finished: entrostat train --resume {run.path}"
        )
    return summary


def cell(interval: dict[str, float]) -> str:
    """A score with its interval."""
    return interval_text(interval["value"], interval["low"], interval["high"])


def _on_validation(scores: dict[str, Any]) -> str:
    return f"mean@{scores['validation_samples']} on validation problems"
