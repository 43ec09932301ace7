"""Files and folders that are whole or not there, and a folder that one process at a time writes."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: no folder has a lock there
    fcntl = None


def write_atomic(path: Path, text: str) -> None:
    """Writes `text` to `path` in one step: a reader, or a kill half way, finds the old file or the new one whole.

    Its mode is the umask's, as of any new file.
    """
    # not mkstemp's, which its owner alone may read: who shares a checkpoint resumes from it
    temporary = _aside(path)
    try:
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Writes `data` as indented JSON, as `write_atomic` does."""
    write_atomic(path, json.dumps(data, indent=1) + "\n")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to write into, which becomes `path` at the end; after an error nothing of it is left.

    Its mode is the umask's. Folders above are made. OSError where `path` is by then a file or a folder not empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not mkdtemp's, which its owner alone may read
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        os.replace(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def is_taken(path: Path) -> bool:
    """Whether something is there that a new folder would cover: a file, or a folder that is not empty."""
    if path.is_dir():
        return any(path.iterdir())
    return path.exists() or path.is_symlink()


@contextlib.contextmanager
def held(folder: Path, taken: str = "") -> Iterator[None]:
    """Holds the folder against other processes that would hold it. A killed process holds nothing.

    Where another one has it: ValueError with the text `taken`, or without one the wait for it.
    """
    if fcntl is None:
        yield
        return
    # the folder itself: a file in it may be replaced, and with it what is locked
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError:
            raise ValueError(taken) from None
        yield
    finally:
        os.close(handle)
