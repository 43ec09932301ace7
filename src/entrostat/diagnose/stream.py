"""Reads dumps once, batch by batch, into an attribution; counts the rows that are left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrostat import dump
from entrostat.diagnose.attribution import Attribution, Attributor
from entrostat.diagnose.plan import plan

MOST_TOLD = 5


@dataclass
class Skipped:
    """What --skip-bad left out."""

    rows: int = 0
    files: int = 0
    """Files, or the rest of one, whose rows can't be counted."""
    told: list[str] = field(default_factory=list)
    """The first few, a line each."""

    def add(self, line: str, rows: int = 0) -> None:
        self.rows += rows
        self.files += rows == 0
        if len(self.told) < MOST_TOLD:
            self.told.append(line)


def attribute(
    paths: Sequence[Path | str], *, right: float = 0.5, skip_bad: bool = False
) -> tuple[Attribution, Skipped]:
    """The attribution of all rows below `paths`: dumps, folders of them, runs' folders, taken together.

    Args:
        right: the least reward of a right answer.
        skip_bad: leave out rows, and files, that can't be read, and count them.

    Raises:
        ValueError: one line with file, row and column.
    """
    skipped = Skipped()
    bad = skipped.add if skip_bad else None
    found = plan(paths, bad)
    attributor = Attributor(found, right=right)
    for number, source in enumerate(found.sources):
        read, before = 0, skipped.rows
        for batch in dump.read(source.file, found.wanted(), bad=bad):
            first, gone = read, skipped.rows - before
            for row in attributor.add(source, number, batch):
                line = (
                    f"{source.file}: row {first + gone + row}, column 'logprobs': "
                    "its ratio to old_logprobs overflows"
                )
                if bad is None:
                    raise ValueError(line)
                bad(line, 1)
                before += 1
            read += batch.num_rows
    return attributor.result(), skipped
