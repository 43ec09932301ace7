"""A small JSON file that is written whole or not at all, and read whole or not at all.

    {"format": "entrostat-state", "version": 1, "payload": {...}, "sha256": "..."}

The checksum is that of the payload: a state that was edited by hand or damaged on a disk
would steer a resumed run without a word.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from entrostat.files import write_atomic

FORMAT = "entrostat-state"
VERSION = 1
_OLDER = "resume from an older checkpoint"


def write_state(path: Path, payload: dict[str, Any]) -> None:
    """Writes `payload` (JSON-able, finite numbers) with a checksum, atomically."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "payload": payload,
        "sha256": _digest(payload),
    }
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_state(path: Path) -> dict[str, Any]:
    """The payload of `write_state`.

    Raises:
        ValueError: the file is truncated, edited or of another format; it is named.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole state file ({error}): {_OLDER}"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a state file of entrostat: {_OLDER}")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} has state version {content.get('version')!r}, this entrostat reads "
            f"version {VERSION}"
        )
    payload = content.get("payload")
    if not isinstance(payload, dict) or content.get("sha256") != _digest(payload):
        raise ValueError(
            f"{path} was edited or damaged (its checksum differs): {_OLDER}"
        )
    return payload


def _digest(payload: Any) -> str:
    """SHA-256 of the payload as JSON, whatever the order of its keys."""
    text = json.dumps(payload, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
