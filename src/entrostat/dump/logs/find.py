"""Which trainer's log a path is, and its rollouts in their order."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from entrostat.dump.check import Bad
from entrostat.dump.folder import by_number, has_dumps
from entrostat.dump.logs.completion import Rollout
from entrostat.dump.logs.slime import is_evaluation, read_slime
from entrostat.dump.logs.trl import is_trl, read_trl
from entrostat.dump.logs.verl import is_verl, read_verl

_PLACES = (
    "[0-9]*.jsonl",
    "completions_*.parquet",
    "completions/completions_*.parquet",
    "*[0-9].pt",
    "rollout_data/*[0-9].pt",
)
"""Where logs are looked for below a folder: verl's, TRL's (in its folder and in the run's)
and slime's (in its folder and in that of --dump-details). The first place that has any is
taken."""


def log_files(path: Path | str) -> list[Path]:
    """The files of a trainer's log that `path` means, in the order of their numbers.

    [] where it is a dump, a folder that has one, or nothing that is known.
    """
    path = Path(path)
    if path.is_file():
        return [path] if _is_log(path) else []
    for pattern in _PLACES:
        found = [match for match in path.glob(pattern) if match.is_file()]
        logs = sorted(filter(_is_log, found), key=by_number)
        # a dump tells all that such a log does
        if logs and not has_dumps(path, besides=found):
            return logs
    return []


def _is_log(file: Path) -> bool:
    if file.suffix == ".jsonl":
        return is_verl(file)
    if file.suffix == ".parquet":
        return is_trl(file)
    return file.suffix == ".pt"


def read_log(
    files: Sequence[Path], *, reward: str = "", bad: Bad | None = None
) -> Iterator[Rollout]:
    """The rollouts of a trainer's log.

    A file that repeats the rollout before it, as TRL's do with several log lines per
    rollout, is left out, and so are slime's files of an evaluation. Both are said in the
    notes of the next rollout, or of the last.

    Args:
        files: of `log_files`.
        reward: which of several rewards is meant; empty: there is one.
        bad: called where a line or a file can't be read; it is left out. None: that is
            an error.

    Raises:
        ValueError: one line with file and row.
    """
    before: Rollout | None = None
    repeated = 0
    evaluations = 0
    several = len(files) > 1
    for file in files:
        if several and file.suffix == ".pt" and is_evaluation(file):
            evaluations += 1
            continue
        try:
            rollout = _read(file, reward, bad)
        except ValueError as error:
            if bad is None:
                raise
            bad(str(error), 0)
            continue
        if before is not None:
            # only TRL writes a rollout more than once
            if file.suffix == ".parquet" and _said(rollout) == _said(before):
                repeated += 1
                continue
            yield before
        before = rollout
    if before is None:
        raise ValueError(f"{files[0]}: no rollout in it that can be read: give another")
    notes = list(before.notes)
    if repeated:
        notes.append(f"{repeated} repeated files: they hold the rollout before them")
    if evaluations:
        notes.append(f"{evaluations} files of evaluations: nothing is trained on them")
    yield before._replace(notes=tuple(notes))


def _said(rollout: Rollout) -> list[tuple[Any, str, float]]:
    """What tells a rollout from another. Without rewards: a NaN equals nothing."""
    completions = rollout.completions
    return [(each.prompt, each.response, each.advantage) for each in completions]


def _read(file: Path, reward: str, bad: Bad | None) -> Rollout:
    if file.suffix == ".jsonl":
        return read_verl(file, bad)
    if file.suffix == ".parquet":
        return read_trl(file, reward)
    return read_slime(file, reward)
