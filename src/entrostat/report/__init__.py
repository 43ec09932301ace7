"""The report of one or more runs: an HTML file that opens offline.

read.py reads the folders, and logs.py what other programs have logged. story.py says
what happened, results.py makes the table, figures.py the figures, and axes.py says what
their curves can stand over. page.py puts them into page.html, and plotly_file.py writes
plotly.js beside it. svg.py draws the one picture that needs no page. A report needs the
`train` extra.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from entrostat.files import write_atomic
from entrostat.report.axes import check_axis
from entrostat.report.export import as_csv
from entrostat.report.glance import ShownRun
from entrostat.report.page import MARKER, View, page
from entrostat.report.plotly_file import shared_name, write_shared
from entrostat.report.read import Run, read_runs
from entrostat.report.untrusted import text

__all__ = [
    "Run",
    "View",
    "load_run",
    "read_runs",
    "write_csv",
    "write_page",
    "write_report",
]


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    inline: bool = False,
) -> Path:
    """Writes the report of `runs`, folders or logs, to the file `out` and returns `out`.

    Runs of one label are taken as seeds of one experiment. A run that has not finished,
    or was killed in the middle of a line, is shown as far as it got. `out` is written
    whole or not at all, its folder is made where it is missing, and a report that is
    there already is replaced.

    Args:
        inline: whether plotly.js (5 MB) stands in the page. Otherwise it is a file
            beside it, one for all pages of the folder.

    Raises ValueError for no runs and for a path that is no run's folder,
    FileExistsError when `out` exists and is no report, ImportError where plotly is
    missing, OSError when the file cannot be written.
    """
    words = ["entrostat", "report", *map(str, runs), "--out", str(out)]
    if inline:
        words.append("--inline")
    return write_page(
        read_runs(map(Path, runs)),
        Path(out),
        title=title,
        inline=inline,
        command=shlex.join(words),
    )


def write_page(
    runs: Sequence[Run],
    out: Path,
    *,
    title: str | None = None,
    inline: bool = False,
    view: View | None = None,
    command: str = "",
) -> Path:
    """`write_report` of runs that are read already.

    Args:
        view: how the curves are shown when the page is opened.
        command: that writes the page again, which stands at its top.

    Raises ValueError too where no run can be drawn over `view.x`.
    """
    _check_replaceable(out)
    view = view or View()
    check_axis(runs, view.x)
    plotly_file = "" if inline else shared_name()
    content = page(runs, title, view=view, command=command, plotly_file=plotly_file)
    out.parent.mkdir(parents=True, exist_ok=True)
    # first, so that there is no page without it
    if not inline:
        write_shared(out.parent)
    write_atomic(out, content)
    return out


def load_run(path: str | Path) -> Run:
    """The one run in a folder or a log, for a notebook, which shows it by itself.

    Raises ValueError where there is none, or more than one.
    """
    runs = read_runs([Path(path)])
    if len(runs) > 1:
        names = ", ".join(run.name for run in runs[:3])
        raise ValueError(
            f"{text(str(path))} holds {len(runs)} runs ({names}...): give one of them, or "
            "take entrostat.report.read_runs"
        )
    return ShownRun.of(runs[0])


def write_csv(runs: Sequence[Run], out: Path) -> Path:
    """Writes the numbers of the runs to the new file `out` and returns it.

    Raises FileExistsError where it is there already.
    """
    with out.open("x", encoding="utf-8", newline="") as file:
        file.write(as_csv(runs))
    return out


def _check_replaceable(out: Path) -> None:
    """FileExistsError where something is at `out` that is no report."""
    if not os.path.lexists(out):
        return
    start = b""
    if out.is_file():
        with out.open("rb") as file:
            # The marker stands at the top of a report. Another file may quote a report
            # further down.
            start = file.read(1024)
    if MARKER.encode() not in start:
        raise FileExistsError(
            f"{text(str(out))} exists and is no report of entrostat: "
            "give another file name"
        )
