"""What the command line gives the doctor: a script, a file, an object, or words alone."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from entrostat.doctor.read import SCRIPTS, Source, imported, overrides, read_file
from entrostat.doctor.script import read_script


def read(words: Sequence[str]) -> Source:
    """The configuration of a command line: CONFIG [KEY=VALUE...], or words KEY=VALUE
    alone, as verl takes them."""
    if not words:
        raise ValueError(
            "no configuration given: entrostat doctor CONFIG [KEY=VALUE...]"
        )
    first, *rest = words
    is_file = Path(first).exists()
    if "=" in first and not is_file:
        return Source("command line", {}, overrides(words))
    source = _config(first, is_file=is_file)
    # the command line's own words stand over a script's
    return dataclasses.replace(source, overrides=source.overrides + overrides(rest))


def _config(name: str, *, is_file: bool) -> Source:
    is_module = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", name)
    if is_module and not is_file:
        return imported(name)
    path = Path(name)
    if path.suffix.lower() in SCRIPTS:
        return read_script(path)
    return Source(name, read_file(path))
