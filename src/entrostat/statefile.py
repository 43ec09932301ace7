"""A small JSON file that is written whole or not at all, and read whole or not at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

from entrostat.files import write_atomic

FORMAT = "entrostat-state"
VERSION = 1


def _digest(payload: Any) -> str:
    return hashlib.sha256(
        json.dumps(payload, sort_keys=True, allow_nan=False).encode()
    ).hexdigest()


def write_state(path: Path, payload: dict[str, Any]) -> None:
    """Writes `payload` (JSON-able, finite numbers) with a checksum, atomically."""
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "payload": payload,
        "sha256": _digest(payload),
    }
    write_atomic(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def read_state(path: Path) -> dict[str, Any]:
    """The payload of `write_state`. ValueError naming the file when it is truncated, edited or of another format."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole state file ({error}): resume from an older checkpoint"
        ) from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a state file of entrostat: resume from an older checkpoint"
        )
    if whole.get("version") != VERSION:
        raise ValueError(
            f"{path} has state version {whole.get('version')!r}, this entrostat reads version {VERSION}"
        )
    payload = whole.get("payload")
    if not isinstance(payload, dict) or whole.get("sha256") != _digest(payload):
        raise ValueError(
            f"{path} was edited or damaged (its checksum differs): resume from an older checkpoint"
        )
    return payload
