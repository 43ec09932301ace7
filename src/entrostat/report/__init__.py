"""The report of one or more runs: one HTML file that opens offline.

read.py reads the folders, results.py makes the table and figures.py the figures.
page.py puts them into page.html. svg.py draws the one picture that needs no page.
A report needs the `train` extra.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from entrostat.files import write_atomic
from entrostat.report.page import MARKER, page
from entrostat.report.read import read_runs
from entrostat.report.untrusted import text

__all__ = ["write_report"]


def write_report(runs: Sequence[Path], out: Path, *, title: str | None = None) -> Path:
    """Writes the report of the run folders `runs` to the file `out` and returns `out`.

    Runs of one label are taken as seeds of one experiment. A run that has not finished,
    or was killed in the middle of a line, is shown as far as it got. `out` is written
    whole or not at all, its folder is made where it is missing, and a report that is
    there already is replaced.

    Raises ValueError for no runs and for a path that is no run's folder,
    FileExistsError when `out` exists and is no report, ImportError where plotly is
    missing, OSError when the file cannot be written.
    """
    _check_replaceable(out)
    content = page(read_runs(runs), title)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, content)
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
