"""Dumps: what every trained token of a rollout was, written by a run or from anybody's tensors, and their reader.

A dump is Parquet, one file a rollout (docs/dump.md). Parts: `schema` (columns and version), `write`, `read`, `tokens`
(a row's lists as flat arrays, one number a trained token), `folder` (names of files in a folder) and `prime_rl` (the
same rows from prime-rl's token export).
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
