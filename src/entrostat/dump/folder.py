"""Names of dumps in a folder, and which of them a path means."""

import re
from collections.abc import Collection
from pathlib import Path

_STEP = re.compile(r"step-(\d+)(-rank\d+)?\.parquet")
_PLACES = (
    "*.parquet",
    "dump/*.parquet",
    "rank_*.jsonl",
    "step_*/rank_*.jsonl",
    "**/token_exports/step_*/rank_*.jsonl",
)
"""Where dumps are looked for below a folder; the first place that has any is taken. The
last three are prime-rl's."""


def file_name(step: int, rank: int = 0, ranks: int = 1) -> str:
    """The name of a rollout's dump, or of one rank's part of it.

    >>> file_name(12), file_name(12, rank=3, ranks=8)
    ('step-000012.parquet', 'step-000012-rank003.parquet')
    """
    part = f"-rank{rank:03d}" if ranks > 1 else ""
    return f"step-{step:06d}{part}.parquet"


def files(path: Path | str) -> list[Path]:
    """The dumps that `path` means, in the order of the numbers in their names.

    It is a file, a folder of dumps, a run's folder, or a folder that is or holds a
    token export of prime-rl (entrostat.dump.prime_rl).

    Raises:
        ValueError: nothing is there, or no dump is in it.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.exists():
        raise ValueError(
            f"{path}: there is no such file or folder: give a dump, a folder of dumps "
            "or a run's folder"
        )
    for pattern in _PLACES:
        dumps = [match for match in path.glob(pattern) if match.is_file()]
        if dumps:
            return sorted(dumps, key=by_number)
    raise ValueError(
        f"{path}: no dump in it (*.parquet, dump/*.parquet): train with --dump-every, "
        "or give another"
    )


def has_dumps(folder: Path, besides: Collection[Path]) -> bool:
    """Whether a folder has files where dumps are looked for, other than these."""
    for pattern in _PLACES:
        for match in folder.glob(pattern):
            if match.is_file() and match not in besides:
                return True
    return False


def cut(folder: Path | str, step: int) -> None:
    """Removes a run's dumps of the rollouts from `step` on.

    Halves of dumps that a kill has left are removed too.
    """
    for path in Path(folder).glob("step-*.parquet"):
        match = _STEP.fullmatch(path.name)
        if match and int(match[1]) >= step:
            path.unlink(missing_ok=True)
    for path in Path(folder).glob(".step-*.parquet.part"):
        path.unlink(missing_ok=True)


def by_number(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts step-10 after step-9, in folders too."""
    key = []
    for part in re.split(r"(\d+)", str(path)):
        # \d also matches digits that int() refuses, such as a superscript
        is_number = part.isdecimal() and part.isascii()
        key.append((1, int(part), "") if is_number else (0, 0, part))
    return key
