"""A folder that one process at a time writes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no folder has a lock there
    fcntl = None


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
