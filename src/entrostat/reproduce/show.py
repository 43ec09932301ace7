"""Claims and what their checks found: on a terminal, and as the page docs/claims.md."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from entrostat.lab.watch import Watcher
from entrostat.reproduce.claim import Claim, Standing
from entrostat.reproduce.runs import AnyJob

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
        self.bar = Progress(
            *columns, console=self.console, disable=not sys.stderr.isatty()
        )
        self.task = self.bar.add_task("rollouts", total=0)
        self.done = self.total = 0

    def __enter__(self) -> "Bar":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def expect(self, jobs: Sequence[AnyJob]) -> None:
        """What is still to do; a later stage may add to it."""
        self.total = self.done + sum(job.rollouts for job in jobs)
        self.bar.update(self.task, total=self.total)
        self.note(f"{len(jobs)} runs to go")

    def watcher(self, job: AnyJob) -> Watcher:
        """Counts a run's rollouts."""
        return _Counter(self, job)


class _Counter(Watcher):
    def __init__(self, bar: Bar, job: AnyJob):
        self.bar, self.job, self.rollouts = bar, job, 0

    def line(self, metrics: dict[str, Any]) -> None:
        self.rollouts += 1
        self.bar.done += 1
        self.bar.bar.update(self.bar.task, completed=self.bar.done)
        if self.rollouts == self.job.rollouts and self.bar.bar.disable:
            self.bar.note(
                f"{self.bar.done}/{self.bar.total} rollouts: {self.job.command}"
            )

    def note(self, text: str) -> None:
        self.bar.note(text)


def listing(claims: Iterable[Claim]) -> Table:
    """Name, statement and source of each."""
    out = Table(
        caption="entrostat reproduce NAME... checks them, --all all of them",
        caption_justify="left",
    )
    for column in ("claim", "statement", "source"):
        out.add_column(column)
    for claim in claims:
        out.add_row(claim.name, escape(claim.statement), escape(claim.source))
    return out


def table(results: Sequence[dict[str, Any]]) -> Table:
    """The number that decides, and the verdict of each."""
    caption = "95% intervals over seeds; --json has the criteria, the parts of each verdict and all numbers"
    out = Table(caption=caption, caption_justify="left")
    for column in ("claim", "statement", "what decides it"):
        out.add_column(column)
    for column in ("verdict", "seconds"):
        out.add_column(column, justify="right")
    for result in results:
        verdict = f"[{COLOURS[result['verdict']]}]{result['verdict']}[/]"
        if result["verdict"] == "fails":
            verdict += f": {result['standing']}"
        statement, seconds = escape(result["statement"]), f"{result['seconds']:.0f}"
        out.add_row(
            result["claim"], statement, escape(_decides(result)), verdict, seconds
        )
    return out


INTRO = """# The papers' claims

Each claim of arXiv 2509.26114 (a1 to a9) and arXiv 2602.09782 (b1 to b8), and one misreading of both (c1), as a check
that runs. Its criterion was fixed before its runs, and the verdict follows from the numbers. a1 and a2 are checked on
exact policies, the others on a tiny model in minutes of CPU: what is seen here is seen at this scale.
"""

READING = """## How to read this page

- **Standing.** *Reproduced*: each part's interval lies where the claim wants it (verdict `holds`). *Open*: none lies
  wholly on the wrong side, some reach to both; the runs do not tell (`undecided`). Where one lies wholly on the wrong
  side (`fails`) the claim is *contradicted*, or *not reproduced at this scale* where the lab lacks something of the
  paper's set-up that may be why. The reason says what; a run does not show that it is the cause.
- **Criteria** are written before their runs. Where one has been replaced since, the result is that of the earlier
  one, and the section says so.
- **The number in the table** is that of the part that decides: where a claim fails or is open, the one furthest on the
  wrong side; where it is reproduced, the claim's own.
- **Intervals** are 95% for the mean over seeds, by Student's t; those of shares, their differences and correlations
  stay within their range. Fewer than three seeds are shown one by one and decide nothing.
- **Least effect**: the distance of the true mean from the bound that a two-sided 5% t test over so many seeds, so far
  apart, finds in four cases of five. An open part says nothing about smaller effects.
- Intervals are not corrected for the number of parts: where the truth is at the bound, one part in 40 fails by chance.
"""

COMMANDS = """## The commands

    entrostat reproduce                 # the list
    entrostat reproduce a4 b1           # some, in full; a stopped set goes on where it was
    entrostat reproduce --all --fast    # signs of all, in minutes

This page is made from docs/results/reproduce by `make claims`; CI makes it again and fails where it differs. Beside the
results lies a record of every run (runs.jsonl): its command, versions, entropy by rollout, right samples by problem.
Text below a claim's parts was written by hand after the runs (NAME.md beside the result).
"""


def page(
    claims: Iterable[Claim],
    results: Mapping[str, dict[str, Any]],
    gpu: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The results as Markdown: how to read them, a table of all claims, then each with its parts and numbers.

    A result's `remark`, written by hand after the runs, stands below its parts. `gpu`: rows of `gpu_section`.
    """
    claims = list(claims)
    rows = [_row(claim, results.get(claim.name)) for claim in claims]
    heads = ["claim", "statement", "standing", "parts that hold", "what decides it"]
    out = [INTRO, _counted(claims, results), READING]
    if gpu:
        out.append(gpu_section(gpu))
    out += ["## All claims\n", _markdown(heads, rows), COMMANDS]
    out += [
        _section(claim, results[claim.name])
        for claim in claims
        if claim.name in results
    ]
    return "\n".join(out).rstrip("\n")


GPU_COLUMNS = ("arm", "reward", "rollouts", "seeds", "effect", "low", "high", "device")


def gpu_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The runs in the paper's own geometry on a GPU, shown before all others.

    Args:
        rows: one an arm and reward, with GPU_COLUMNS: `effect` is the change of ln H a rollout that the arm's clip
            makes against the same updates without a clip (of the arm without one: its own drift), `low` and `high`
            its 95% interval over seeds, None under three seeds; `device` the GPU's name.

    Raises:
        ValueError: a row without one of these.
    """
    for at, row in enumerate(rows, 1):
        if missing := [name for name in GPU_COLUMNS if name not in row]:
            raise ValueError(
                f"row {at} of the GPU's results has no {missing[0]}: needs {', '.join(GPU_COLUMNS)}"
            )
    devices = " and ".join(dict.fromkeys(str(row["device"]) for row in rows))
    cells = [
        [
            row["arm"],
            row["reward"],
            str(row["rollouts"]),
            str(row["seeds"]),
            _estimate({**row, "value": row["effect"]}),
        ]
        for row in rows
    ]
    heads = [
        "clip",
        "reward",
        "rollouts",
        "seeds",
        "effect on ln H a rollout, 95% interval",
    ]
    return f"## In the paper's own batch, on {devices}\n\n{GPU_TEXT}\n{_markdown(heads, cells)}"


GPU_TEXT = """512 prompts x 8 responses and 16 updates a rollout, as in arXiv 2509.26114 (bench/regime_gpu.py). The
effect of an arm is what its clip does to ln H against the same updates without a clip; that of the arm without one is
its drift.
"""


def _counted(claims: Sequence[Claim], results: Mapping[str, dict[str, Any]]) -> str:
    """How many claims stand how."""
    found = Counter(
        results[claim.name]["standing"] for claim in claims if claim.name in results
    )
    said = [f"{found[standing]} {standing}" for standing in get_args(Standing)]
    missing = len(claims) - found.total()
    if missing:
        said.append(f"{missing} not run in full yet")
    return f"Of {len(claims)} claims: **{', '.join(said)}**.\n"


def _row(claim: Claim, result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return [claim.name, claim.statement, "not run in full yet", "", ""]
    parts = result["parts"]
    held = sum(part["verdict"] == "holds" for part in parts)
    ratio = f"{held} of {len(parts)}" if parts else ""
    return [
        f"[{claim.name}](#{claim.name})",
        claim.statement,
        _standing(result),
        ratio,
        _decides(result),
    ]


def _standing(result: dict[str, Any]) -> str:
    reason = f": {result['reason']}" if result["reason"] else ""
    return f"**{result['standing']}**{reason}"


def _decides(result: dict[str, Any]) -> str:
    """The number that the verdict turns on, what it is, and what was wanted of it."""
    part = next(
        (part for part in result["parts"] if part["what"] == result["deciding"]), None
    )
    if part is None:
        estimate = (
            _estimate(result["interval"])
            if result["interval"]
            else _number(result["effect"])
        )
        return f"{estimate}: {result['measure']}"
    what = result["measure"] if result["verdict"] == "holds" else part["what"]
    return f"{_estimate(part['interval'])}: {what}; wanted {part['wanted']}"


def _section(claim: Claim, result: dict[str, Any]) -> str:
    lines = [
        f"## {result['claim']}",
        "",
        f"{result['statement']}. ({result['source']})",
        "",
        f"**Verdict: {result['verdict']}**, {_standing(result)}.",
        "",
        f"**In practice.** {result['use']}.",
        "",
        f"**Criterion.** {result['criterion']}.",
        "",
    ]
    if result["criterion"] != claim.criterion:
        lines += [
            f"**Not measured yet** by the present criterion: {claim.criterion}.",
            "",
        ]
    if result["parts"]:
        rows = [_part_row(part) for part in result["parts"]]
        lines.append(
            _markdown(
                [
                    "part",
                    "seeds",
                    "mean, 95% interval",
                    "wanted",
                    "least effect",
                    "verdict",
                ],
                rows,
            )
        )
    if result.get("remark"):
        lines += [result["remark"], ""]
    if result["numbers"]:
        lines.append(_numbers(result["numbers"]))
    lines += [f"`{result['command']}`: {_runs(result)}.", ""]
    return "\n".join(lines)


def _part_row(part: dict[str, Any]) -> list[str]:
    """Of a result that was written before there were points and least effects, these are empty."""
    seeds = str(len(part["interval"]["points"])) if "points" in part["interval"] else ""
    least = _number(part["least"]) if "least" in part else ""
    return [
        part["what"],
        seeds,
        _estimate(part["interval"]),
        part["wanted"],
        least,
        part["verdict"],
    ]


def _runs(result: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in result["versions"].items()
    )
    trained = f"{len(result['runs'])} runs, " if result["runs"] else ""
    return f"{trained}{result['seconds']:.0f} s of one core, {versions}"


def _numbers(values: Mapping[str, Any]) -> str:
    """One row a number; where all are named `THIS: THAT`, each with each, a table of the two, the longer one down."""
    grid = {name.rpartition(": ")[::2]: _value(value) for name, value in values.items()}
    down, across = (list(dict.fromkeys(names)) for names in zip(*grid, strict=True))
    if min(len(down), len(across)) < 2 or len(down) * len(across) != len(grid):
        return _markdown(
            ["other numbers", ""],
            [[name, _value(value)] for name, value in values.items()],
        )
    if len(across) > len(down):
        down, across, grid = (
            across,
            down,
            {(that, this): value for (this, that), value in grid.items()},
        )
    return _markdown(
        ["other numbers", *across],
        [[this, *(grid[this, that] for that in across)] for this in down],
    )


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    clean = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in clean)]) + "\n"


def _value(value: Any) -> str:
    return _estimate(value) if isinstance(value, dict) else _number(value)


def _estimate(interval: Mapping[str, Any]) -> str:
    """The mean and its interval; without an interval the seeds' own numbers, as far as they are known."""
    value = interval["value"]
    if interval["low"] is not None:
        return f"{_number(value)} [{_number(interval['low'])}, {_number(interval['high'])}]"
    points = interval.get("points", ())
    if value is None or not points:
        return _number(value)
    return f"{_number(value)} ({', '.join(map(_number, points))})"


def _number(value: Any) -> str:
    return (
        "no number"
        if value is None
        else f"{value:.3g}"
        if isinstance(value, float)
        else str(value)
    )
