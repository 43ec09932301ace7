"""Claims on a terminal: the progress of their runs, their results."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from entrostat.lab.show import Bars
from entrostat.lab.watch import Watcher
from entrostat.reproduce.page import decides
from entrostat.reproduce.runs import AnyJob

COLOURS = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


class Bar(Bars):
    """One bar over all rollouts that are still to do, on stderr; none where claims need
    no run.

    Where stderr is no terminal it is lines instead.
    """

    def __init__(self):
        super().__init__(Console(stderr=True, highlight=False))
        self.bar: TaskID | None = None
        self.done = self.total = 0

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def expect(self, jobs: Sequence[AnyJob]) -> None:
        """Takes note of what is still to do; a later stage may add to it."""
        self.total = self.done + sum(job.rollouts for job in jobs)
        if self.bar is None:
            self.bar = self.add("rollouts", self.total)
        self.update(self.bar, total=self.total)
        self.note(f"{len(jobs)} runs to go")

    def show(self, live: str) -> None:
        """What goes on, below the bar."""
        if self.bar is not None:
            self.update(self.bar, completed=self.done, live=live)

    def count(self) -> None:
        """One rollout is done."""
        self.done += 1
        self.show("")

    def watcher(self, job: AnyJob) -> Watcher:
        """Counts a run's rollouts."""
        return _Counter(self, job)


class _Counter(Watcher):
    def __init__(self, bar: Bar, job: AnyJob):
        self.bar, self.job, self.rollouts = bar, job, 0

    def line(self, metrics: dict[str, Any]) -> None:
        self.rollouts += 1
        self.bar.count()
        if self.rollouts == self.job.rollouts and self.bar.disable:
            done, total = self.bar.done, self.bar.total
            self.bar.note(f"{done}/{total} rollouts: {self.job.command}")

    def status(self, text: str) -> None:
        self.bar.show(text)

    def note(self, text: str) -> None:
        self.bar.note(text)


def table(reports: Sequence[dict[str, Any]]) -> Table:
    """The number that decides, and the verdict of each."""
    caption = (
        "95% intervals over seeds; --json has the criteria, the parts of each verdict "
        "and all numbers"
    )
    out = Table(
        "claim",
        "statement",
        "what decides it",
        caption=caption,
        caption_justify="left",
    )
    out.add_column("verdict", justify="right")
    out.add_column("seconds", justify="right")
    for report in reports:
        colour = COLOURS[report["verdict"]]
        verdict = f"[{colour}]{report['verdict']}[/]"
        if report["verdict"] == "fails":
            verdict += f": {report['standing']}"
        statement, deciding = escape(report["statement"]), escape(decides(report))
        seconds = f"{report['seconds']:.0f}"
        out.add_row(report["claim"], statement, deciding, verdict, seconds)
    return out
