"""Names of dumps in a folder, and which of them a path means."""

import re
from pathlib import Path

_STEP = re.compile(r"step-(\d+)(-rank\d+)?\.parquet")


def file_name(step: int, rank: int = 0, ranks: int = 1) -> str:
    """step-000012.parquet, or step-000012-rank003.parquet for one rank's part of a rollout.

    >>> file_name(12)
    'step-000012.parquet'
    """
    return f"step-{step:06d}" + (f"-rank{rank:03d}" if ranks > 1 else "") + ".parquet"


def files(path: Path | str) -> list[Path]:
    """The dumps that `path` means, by number in their names: a file, a folder of them, a run's folder.

    A folder may be a token export of prime-rl, or hold one (entrostat.dump.prime_rl).

    Raises:
        ValueError: nothing is there, or no dump is in it.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.exists():
        raise ValueError(
            f"{path}: there is no such file or folder: give a dump, a folder of dumps or a run's folder"
        )
    for pattern in (
        "*.parquet",
        "dump/*.parquet",
        "rank_*.jsonl",
        "step_*/rank_*.jsonl",
    ):
        if found := [each for each in path.glob(pattern) if each.is_file()]:
            return sorted(found, key=_by_number)
    if found := [
        each
        for each in path.glob("**/token_exports/step_*/rank_*.jsonl")
        if each.is_file()
    ]:
        return sorted(found, key=_by_number)
    raise ValueError(
        f"{path}: no dump in it (*.parquet, dump/*.parquet): train with --dump-every, or give another"
    )


def cut(folder: Path | str, step: int) -> None:
    """Removes a run's dumps of the rollouts from `step` on, and halves of dumps that a kill has left."""
    for path in Path(folder).glob("step-*.parquet"):
        found = _STEP.fullmatch(path.name)
        if found and int(found[1]) >= step:
            path.unlink(missing_ok=True)
    for path in Path(folder).glob(".step-*.parquet.part"):
        path.unlink(missing_ok=True)


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Sorts step-10 after step-9, in folders too."""
    parts = re.split(r"(\d+)", str(path))
    return [
        (1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part)
        for part in parts
    ]
