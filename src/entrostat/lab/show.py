"""What a run looks like on a terminal: a bar with a live line while it goes, a table when
it is done."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from entrostat.lab.evaluate import at_best, spelt
from entrostat.lab.run import Run
from entrostat.lab.score_cell import ScoreCell
from entrostat.lab.watch import Watcher
from entrostat.texts import interval_text

EVERY = 10
"""Rollouts between lines where stderr is no terminal."""
_LABEL = 34
"""Characters of a label beside its bar; with bar, count and time it fits into 80."""


# While it goes


class Bars(Progress):
    """A bar each, and what it is about on a line below, so that no width of a terminal
    hides the count or the time left."""

    def __init__(self, console: Console):
        # a long label wraps, the others never do
        self._labels = Column(overflow="fold")
        # labels may hold brackets: no markup
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=self._labels),
            BarColumn(bar_width=24, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            console=console,
            disable=not sys.stderr.isatty(),
        )

    def add(self, label: str, total: int, live: str = "") -> TaskID:
        """One more bar; all begin in the same column."""
        width = min(cell_len(label), _LABEL)
        self._labels.width = max(self._labels.width or 0, width)
        return self.add_task(label, total=total, live=live)

    def get_renderables(self) -> Iterator[Table | Text]:
        """Each bar, and below it its live text where there is one."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            live = task.fields["live"]
            if live:
                yield Text(f"  {live}", style="dim")


class Screen:
    """A bar for each run on stderr, and a line now and then where stderr is no
    terminal."""

    def __init__(self):
        self.console = Console(stderr=True, highlight=False)
        self.bars = Bars(self.console)

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
    """The bar of one run."""

    def __init__(self, screen: Screen, run: Run, seeded: bool):
        config = run.config
        self.screen = screen
        self.steps = config["steps"]
        self.label = config["label"]
        if seeded:
            self.label += f", seed {config['seed']}"
        self.task = screen.bars.add(self.label, self.steps, "waiting to start")

    def status(self, text: str) -> None:
        self.screen.bars.update(self.task, live=text)
        if self.screen.bars.disable and text:
            self.note(text)

    def note(self, text: str) -> None:
        self.screen.console.print(f"{self.label}: {text}", markup=False, soft_wrap=True)

    def line(self, metrics: dict[str, Any]) -> None:
        live, done = live_line(metrics), metrics["step"] + 1
        self.screen.bars.update(self.task, completed=done, live=live)
        due = metrics["step"] % EVERY == 0 or done == self.steps
        if self.screen.bars.disable and due:
            self.note(f"rollout {done}/{self.steps}  {live}")


@contextlib.contextmanager
def pretrain_bar(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on stderr for `pretrain`; gives what is to be called after each step."""
    with Screen() as screen:
        task = screen.bars.add("pretrain", steps)

        def on_step(done: int, loss: float) -> None:
            screen.bars.update(task, completed=done, live=f"loss {loss:.3f}")

        yield on_step


def live_line(metrics: dict[str, Any]) -> str:
    """Entropy, its target where there is one, reward, shares of tokens clipped on the low
    and on the high side.

    "-" where a rollout has none: no trained token, or no reward.
    """
    entropy = _number(metrics["entropy"])
    if metrics.get("target") is not None:
        entropy += f" (target {_number(metrics['target'])})"
    low, high = 100 * metrics["clip_low"], 100 * metrics["clip_high"]
    clipped = f"{low:.1f}% low {high:.1f}% high"
    reward = _number(metrics["reward"])
    return f"entropy {entropy}  reward {reward}  clipped {clipped}"


def _number(value: float | None) -> str:
    """Three digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


# When it is done


def finished(run: Run) -> dict[str, Any]:
    """The summary of a run that is over. ValueError for another."""
    summary = run.summary
    if summary is None:
        raise ValueError(
            f"{run.path} is not finished: entrostat train --resume {run.path}"
        )
    return summary


def result(runs: list[Run]) -> list[dict[str, Any]]:
    """The summaries, each with its run's folder, label and seed."""
    summaries = []
    for run in runs:
        config = run.config
        known = {
            "run": str(run.path),
            "label": config["label"],
            "seed": config["seed"],
        }
        summaries.append({**known, **finished(run)})
    return summaries


def table(runs: list[Run]) -> Table:
    """The base model, then each run: entropy before and after, mean@n and pass@n with 95%
    intervals, seconds.

    Below each, where scores were taken at several temperatures, those at its best one.
    """
    config = runs[0].config
    n = config["eval_samples"]
    start = finished(runs[0])["start"]
    shown = Table(title=_title(config), caption=_caption(start))
    shown.add_column("")
    shown.add_column("entropy", justify="right", no_wrap=True)
    for column in (f"mean@{n}", f"pass@{n}"):
        shown.add_column(column, justify="right")
    shown.add_column("seconds", justify="right", no_wrap=True)
    if start:
        _add_model(shown, "base model", f"{start['entropy']:.3f}", start, n, "")
    for run in runs:
        summary = finished(run)
        name, seconds = run.config["label"], f"{summary['seconds']:.0f}"
        if not summary["start"]:
            # nothing was scored
            shown.add_row(name, "", "", "", seconds)
            continue
        before, after = summary["entropy_start"], summary["entropy_end"]
        entropy = f"{before:.3f} → {after:.3f}"
        _add_model(shown, name, entropy, summary, n, seconds)
    return shown


def _title(config: dict[str, Any]) -> str:
    """What was scored."""
    name = config["dataset"] or config["task"]
    problems = f"{config['eval_problems']} held-out problems"
    return f"{name}: {problems}, {config['eval_samples']} samples each"


def _caption(start: dict[str, Any]) -> str:
    """Units, and how a best temperature was chosen where there is one."""
    caption = (
        "intervals: 95%, over problems; entropy: nats per token; seconds: of training"
    )
    if "best_temperature" in start:
        caption += f"\n{best_note(start)}"
    return caption


def _add_model(
    shown: Table,
    name: str,
    entropy: str,
    scores: dict[str, Any],
    n: int,
    seconds: str,
) -> None:
    """A row of the scores, and one at the best temperature where there is one."""
    mean, passed = cell(scores[f"mean@{n}"]), cell(scores[f"pass@{n}"])
    shown.add_row(name, entropy, mean, passed, seconds)
    if "best_temperature" not in scores:
        return
    best = at_best(scores)
    shown.add_row(
        best_label(scores["best_temperature"]),
        f"{best['entropy']:.3f}",
        cell(best[f"mean@{n}"]),
        cell(best[f"pass@{n}"]),
        "",
    )


def best_label(temperature: float) -> str:
    """What the row of the scores at that temperature is called, below that of the
    model."""
    return f"  at its best temperature ({spelt(temperature)})"


def best_note(scores: dict[str, Any]) -> str:
    """How a best temperature was chosen, for a caption."""
    tried = ", ".join(scores["by_temperature"])
    return f"best temperature: of {tried}, by {_on_validation(scores)}"


def scores_table(scores: dict[str, Any]) -> Table | Group:
    """One model's scores; below them, where there are several temperatures, a row for
    each."""
    n = scores["samples"]
    problems = f"{len(scores['correct'])} held-out problems, {n} samples each"
    shown = Table(title=f"{problems}, 95% intervals over problems")
    shown.add_column("measure")
    shown.add_column("value", justify="right")
    shown.add_row("entropy, nats per token", f"{scores['entropy']:.3f}")
    shown.add_row(f"mean@{n}", cell(scores[f"mean@{n}"]))
    for k, interval in scores["pass@k"].items():
        shown.add_row(f"pass@{k}", cell(interval))
    if "by_temperature" not in scores:
        return shown
    return Group(shown, _temperatures_table(scores))


def _temperatures_table(scores: dict[str, Any]) -> Table:
    """A row per temperature, the best one in bold."""
    n = scores["samples"]
    chosen = spelt(scores["best_temperature"])
    validation = _on_validation(scores)
    shown = Table(
        title="by temperature of the sampler", caption=f"bold: best, by {validation}"
    )
    columns = ("temperature", validation, "entropy", f"mean@{n}", f"pass@{n}")
    for column in columns:
        shown.add_column(column, justify="right")
    for temperature, one in scores["by_temperature"].items():
        shown.add_row(
            temperature,
            f"{scores['validation'][temperature]:.3f}",
            f"{one['entropy']:.3f}",
            cell(one[f"mean@{n}"]),
            cell(one[f"pass@{n}"]),
            style="bold" if temperature == chosen else None,
        )
    return shown


def cell(interval: dict[str, float]) -> ScoreCell:
    """A score with its interval."""
    text = interval_text(interval["value"], interval["low"], interval["high"])
    return ScoreCell(text)


def _on_validation(scores: dict[str, Any]) -> str:
    """What temperatures are compared by."""
    return f"mean@{scores['validation_samples']} on validation problems"
