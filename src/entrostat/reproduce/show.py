"""Claims and what their checks found: on a terminal, and as the page docs/claims.md."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from entrostat.lab.train import Watcher
from entrostat.reproduce.claim import Claim
from entrostat.reproduce.runs import Job

COLOURS = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


class Bar:
    """One bar over all rollouts that are still to do, on stderr; lines where that is no terminal."""

    def __init__(self):
        self.console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, disable=not sys.stderr.isatty())
        self.task = self.bar.add_task("rollouts", total=0)
        self.done = self.total = 0

    def __enter__(self) -> "Bar":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def expect(self, jobs: Sequence[Job]) -> None:
        """What is still to do; a later stage may add to it."""
        self.total = self.done + sum(job.config.steps for job in jobs)
        self.bar.update(self.task, total=self.total)
        self.note(f"{len(jobs)} runs to go")

    def watcher(self, job: Job) -> Watcher:
        """Counts a run's rollouts."""
        return _Counter(self, job)


class _Counter(Watcher):
    def __init__(self, bar: Bar, job: Job):
        self.bar, self.job, self.rollouts = bar, job, 0

    def line(self, metrics: dict[str, Any]) -> None:
        self.rollouts += 1
        self.bar.done += 1
        self.bar.bar.update(self.bar.task, completed=self.bar.done)
        if self.rollouts == self.job.config.steps and self.bar.bar.disable:
            self.bar.note(f"{self.bar.done}/{self.bar.total} rollouts: {self.job.command}")

    def note(self, text: str) -> None:
        self.bar.note(text)


def listing(claims: Iterable[Claim]) -> Table:
    """Name, statement and source of each."""
    out = Table(caption="entrostat reproduce NAME... checks them, --all all of them", caption_justify="left")
    for column in ("claim", "statement", "source"):
        out.add_column(column)
    for claim in claims:
        out.add_row(claim.name, escape(claim.statement), escape(claim.source))
    return out


def table(results: Sequence[dict[str, Any]]) -> Table:
    """Effect, interval and verdict of each."""
    caption = "95% intervals over seeds; --json has the criteria, the parts of each verdict and all numbers"
    out = Table(caption=caption, caption_justify="left")
    for column in ("claim", "statement"):
        out.add_column(column)
    for column in ("effect", "interval", "verdict", "seconds"):
        out.add_column(column, justify="right", no_wrap=column != "effect")
    for result in results:
        verdict = f"[{COLOURS[result['verdict']]}]{result['verdict']}[/]"
        effect = f"{_number(result['effect'])} ({escape(result['measure'])})"
        seconds = f"{result['seconds']:.0f}"
        out.add_row(result["claim"], escape(result["statement"]), effect, _span(result["interval"]), verdict, seconds)
    return out


INTRO = """# The papers' claims

Each claim of arXiv 2509.26114 (a1 to a9) and arXiv 2602.09782 (b1 to b8), and one misreading of both (c1), as a check
that runs, on the lab's tiny countdown model: the criterion was fixed before the runs, the verdict follows from the
interval. `fails` means that the interval lies where the claim forbids it, at this scale; `undecided` that it reaches
into both.

    entrostat reproduce                 # the list
    entrostat reproduce a4 b1           # some, in full; a stopped set goes on where it was
    entrostat reproduce --all --fast    # signs of all, in minutes

This page is made from docs/results/reproduce by `make claims`; CI makes it again and fails where it differs. Beside the
results lies a record of every run (runs.jsonl): its command, versions, entropy by rollout, right samples by problem.
Text below a verdict was written by hand after the runs (NAME.md beside the result).
"""


def page(claims: Iterable[Claim], results: Mapping[str, dict[str, Any]]) -> str:
    """The results, by claim, as Markdown: a table of all claims, then each with its criterion, parts and numbers.

    A result's `remark`, written by hand after the runs, stands between its verdict and its parts.
    """
    claims = list(claims)
    rows = [_row(claim, results.get(claim.name)) for claim in claims]
    out = [INTRO, _markdown(["claim", "statement", "verdict", "effect, 95% interval over seeds"], rows)]
    out += [_section(results[claim.name]) for claim in claims if claim.name in results]
    return "\n".join(out).rstrip("\n")


def _row(claim: Claim, result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return [claim.name, claim.statement, "not run in full yet", ""]
    effect = f"{_number(result['effect'])} {_span(result['interval'])}: {claim.measure}"
    return [f"[{claim.name}](#{claim.name})", claim.statement, f"**{result['verdict']}**", effect]


def _section(result: dict[str, Any]) -> str:
    lines = [
        f"## {result['claim']}",
        "",
        f"{result['statement']}. ({result['source']})",
        "",
        f"**Criterion.** {result['criterion']}.",
        "",
        f"**Verdict: {result['verdict']}.** `{result['command']}`, {_runs(result)}.",
        "",
    ]
    if result.get("remark"):
        lines += [result["remark"], ""]
    if result["parts"]:
        rows = [[p["what"], _estimate(p["interval"]), p["wanted"], p["verdict"]] for p in result["parts"]]
        lines.append(_markdown(["part", "mean, 95% interval", "wanted", "verdict"], rows))
    if result["numbers"]:
        lines.append(_numbers(result["numbers"]))
    return "\n".join(lines)


def _runs(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    trained = f"{len(result['runs'])} runs, " if result["runs"] else ""
    return f"{trained}{result['seconds']:.0f} s of one core, {versions}"


def _numbers(values: Mapping[str, Any]) -> str:
    """One row a number; where all are named `THIS: THAT`, each with each, a table of the two, the longer one down."""
    grid = {name.rpartition(": ")[::2]: _value(value) for name, value in values.items()}
    down, across = (list(dict.fromkeys(names)) for names in zip(*grid, strict=True))
    if min(len(down), len(across)) < 2 or len(down) * len(across) != len(grid):
        return _markdown(["other numbers", ""], [[name, _value(value)] for name, value in values.items()])
    if len(across) > len(down):
        down, across, grid = across, down, {(that, this): value for (this, that), value in grid.items()}
    return _markdown(["other numbers", *across], [[this, *(grid[this, that] for that in across)] for this in down])


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    clean = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in clean)]) + "\n"


def _value(value: Any) -> str:
    return _estimate(value) if isinstance(value, dict) else _number(value)


def _estimate(interval: dict[str, Any]) -> str:
    value = interval["value"]
    return _number(value) if value is None else f"{_number(value)} {_span(interval)}"


def _number(value: Any) -> str:
    return "no number" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _span(interval: dict[str, Any] | None) -> str:
    return f"[{_number(interval['low'])}, {_number(interval['high'])}]" if interval else ""
