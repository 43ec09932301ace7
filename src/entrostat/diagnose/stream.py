"""Reads dumps once, batch by batch, into an attribution; counts the rows left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrostat import dump
from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.attributor import Attributor
from entrostat.diagnose.plan import Source, plan
from entrostat.diagnose.types import Json

MOST_TOLD = 5


@dataclass
class Skipped:
    """What --skip-bad left out."""

    rows: int = 0
    files: int = 0
    """Files, or the rest of one, whose rows can't be counted."""
    told: list[str] = field(default_factory=list)
    """The first few, a line each."""

    def counts(self) -> Json:
        """As a JSON-able dict."""
        return {"rows": self.rows, "files": self.files, "told": self.told}

    def add(self, line: str, rows: int = 0) -> None:
        """What `dump.read` calls as `bad`; 0 rows stand for a file."""
        self.rows += rows
        if rows == 0:
            self.files += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(line)


def attribute(
    paths: Sequence[Path | str],
    *,
    right: float = 0.5,
    skip_bad: bool = False,
    skipped: Skipped | None = None,
) -> tuple[Attribution, Skipped]:
    """The attribution of all rows below `paths`, taken together.

    Args:
        paths: dumps, folders of them, runs' folders.
        right: the least reward of a right answer.
        skip_bad: leave out rows, and files, that can't be read, and count them.
        skipped: what was left out before; None for nothing.

    Raises:
        ValueError: one line with file, row and column.
    """
    skipped = skipped or Skipped()
    what_to_read = plan(paths, skipped.add if skip_bad else None)
    attributor = Attributor(what_to_read, right=right)
    for number, source in enumerate(what_to_read.sources):
        _add_file(attributor, source, number, skipped, skip_bad=skip_bad)
    return attributor.result(), skipped


def _add_file(
    attributor: Attributor,
    source: Source,
    number: int,
    skipped: Skipped,
    *,
    skip_bad: bool,
) -> None:
    columns = attributor.plan.wanted()
    bad = skipped.add if skip_bad else None
    rows_read = 0
    # `skipped` counts what the reader leaves out and, below, what overflows. Only the
    # first is missing from `rows_read`, and a row's number in the file has to count it.
    counted_elsewhere = skipped.rows
    for batch in dump.read(source.file, columns, bad=bad):
        first_row = rows_read + skipped.rows - counted_elsewhere
        for row in attributor.add(source, number, batch):
            line = (
                f"{source.file}: row {first_row + row}, column 'logprobs': "
                "its ratio to old_logprobs overflows"
            )
            if not skip_bad:
                raise ValueError(line)
            skipped.add(line, 1)
            counted_elsewhere += 1
        rows_read += batch.num_rows
