"""The numbers of a report as CSV: a line per run and step, a column per number."""

import csv
import io
from collections.abc import Sequence

from entrostat.report.read import Run


def as_csv(runs: Sequence[Run]) -> str:
    """`run,step,...`, the numbers as Python writes them, empty where a step lacks one.

    A name that a spreadsheet would take for a formula has an apostrophe in front.
    """
    names = sorted({name for run in runs for row in run.rows.values() for name in row})
    names = [name for name in names if name != "step"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "step", *names])
    for run in runs:
        called = (
            f"'{run.name}" if run.name.startswith(("=", "+", "-", "@")) else run.name
        )
        for step, row in run.rows.items():
            writer.writerow([called, step, *(row.get(name, "") for name in names)])
    return text.getvalue()
