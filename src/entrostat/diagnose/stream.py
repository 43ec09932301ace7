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
    told: list[str] = field(default_factory=list)
    """The first few, a line each."""

    def row(self, line: str) -> None:
        self.rows += 1
        self._tell(line)

    def file(self, line: str) -> None:
        self.files += 1
        self._tell(line)

    def _tell(self, line: str) -> None:
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
    found = plan(paths, skipped.file if skip_bad else None)
    attributor = Attributor(found, right=right)
    for number, source in enumerate(found.sources):
        first = 0
        for batch in dump.read(source.file, found.wanted()):
            for row in attributor.add(source, number, batch):
                line = f"{source.file}: row {first + row}, column 'logprobs': its ratio to old_logprobs overflows"
                if not skip_bad:
                    raise ValueError(line)
                skipped.row(line)
            first += batch.num_rows
    return attributor.result(), skipped
