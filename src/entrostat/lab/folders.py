"""Folders that a command writes to or goes on with. Nothing here imports torch, so that a
wrong one is said at once."""

from pathlib import Path

from entrostat.files import is_taken


def check_new(path: Path) -> None:
    """Raises ValueError where something is at `path`: nothing is overwritten."""
    if is_taken(path):
        raise ValueError(
            f"{path} is not empty: choose another --out, or continue with --resume "
            f"{path}"
        )


def check_run(path: Path) -> None:
    """Raises ValueError where there is no run to go on with."""
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{path} holds no run (no config.json in it): give the folder of a run to "
            "--resume"
        )


def check_comparison(path: Path) -> None:
    """Raises ValueError where there is no comparison to go on with."""
    if not (path / "compare.json").is_file():
        raise ValueError(
            f"{path} holds no comparison (no compare.json in it): give the folder of one "
            "to --resume"
        )
