"""Runs the doctor over files as users have them, and counts: read, refused, findings by kind.

    find FOLDER -name '*.sh' | python dev/survey.py [--async] > findings.txt

Names of files come on stdin. One line per finding, to be read by hand against the trainer's source; counts come last.
--async: only files of runs whose rollouts may be older than the policy that trains.
"""

import collections
import sys
from pathlib import Path
from typing import NamedTuple

from entrostat.doctor import Found, findings, read, settings
from entrostat.doctor.others import OTHERS

STREAMED = ("areal", "prime-rl", "trl-async")
"""Trainers whose runs are always asynchronous."""


class Row(NamedTuple):
    file: str
    trainer: str
    """Empty where the file was refused."""
    late: bool
    found: list[Found]


def surveyed(file: str) -> Row:
    try:
        source = read([file])
        config = settings(source)
        found = findings(config, processes=source.processes or 1)
    except (ValueError, OSError):
        return Row(file, "", False, [])
    late = bool(config.stale) or config.trainer in STREAMED
    if config.trainer in OTHERS:
        trainer = OTHERS[config.trainer]
        for where in trainer.late:
            late |= bool(config[trainer.settings[where.meaning].name])
    return Row(file, config.trainer, late, found)


def main() -> None:
    files = [line.strip() for line in sys.stdin if Path(line.strip()).is_file()]
    rows = [surveyed(file) for file in files]
    if "--async" in sys.argv[1:]:
        rows = [row for row in rows if row.late]
    for row in rows:
        for found in row.found:
            print(f"{row.file}\t{row.trainer}\t{found.finding.value.title}\t{found.said}")
    trainers = collections.Counter(row.trainer or "refused" for row in rows)
    titles = collections.Counter(found.finding.value.title for row in rows for found in row.found)
    print(f"{len(rows)} files: " + ", ".join(f"{name} {count}" for name, count in trainers.most_common()))
    print(f"{titles.total()} findings: " + ", ".join(f"{name} {count}" for name, count in titles.most_common()))


if __name__ == "__main__":
    main()
