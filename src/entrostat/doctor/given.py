"""What the command line gives the doctor: a script, a file, an object, or words alone."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from entrostat.doctor.hydra import composed
from entrostat.doctor.read import SCRIPTS, Source, imported, overrides
from entrostat.doctor.script import read_script

SAVED = (".hydra/config.yaml", "config.yaml", "files/config.yaml", "training_args.bin")
"""What a run leaves in its folder: Hydra's, also in .hydra itself, wandb's, and TRL's."""


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
    path = _saved(Path(name))
    if path.suffix == ".bin":
        raise ValueError(
            f"{path} is a pickle, which can run anything when it is opened, so it is not: "
            "give the script that started the run, or wandb's config.yaml of it"
        )
    if path.suffix.lower() in SCRIPTS:
        return read_script(path)
    fields, notes = composed(path)
    return Source(str(path), fields, notes=tuple(notes))


def _saved(path: Path) -> Path:
    """The configuration in the folder of a run: what Hydra saved, or wandb."""
    if not path.is_dir():
        return path
    for name in SAVED:
        if (path / name).is_file():
            return path / name
    raise ValueError(f"{path} is a folder without {', '.join(SAVED)}: give a file")
