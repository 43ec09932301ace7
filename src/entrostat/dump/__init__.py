"""Dumps: what every trained token of a rollout was, and their reader.

A run writes them, or anybody from tensors. A dump is Parquet, one file per rollout
(docs/dump.md).

    schema    the columns and the version
    check     rows against the schema, for the writer and the reader
    write     tensors to rows, rows to a file
    folder    names of files in a folder
    read      files to a stream of rows
    prime_rl  the same rows from prime-rl's token export
    tokens    a row's lists as flat arrays, one number per trained token
"""

try:
    import pyarrow  # noqa: F401
except ImportError:
    raise ImportError(
        "entrostat.dump needs pyarrow: pip install 'entrostat[train]'"
    ) from None

from entrostat.dump.folder import cut, file_name, files
from entrostat.dump.read import notes, read
from entrostat.dump.schema import COLUMNS, VERSION
from entrostat.dump.tokens import per_token
from entrostat.dump.write import rows, save, write

__all__ = [
    "COLUMNS",
    "VERSION",
    "cut",
    "file_name",
    "files",
    "notes",
    "per_token",
    "read",
    "rows",
    "save",
    "write",
]
