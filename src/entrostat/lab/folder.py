"""A folder that is there whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to write into, which becomes `path` at the end; after an error nothing of it is left.

    Its mode is the umask's. Folders above are made. OSError where `path` is by then a file or a folder not empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not mkdtemp's, which its owner alone may read
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    aside.mkdir()
    try:
        yield aside
        os.replace(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
