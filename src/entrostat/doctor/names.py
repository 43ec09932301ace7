"""Names that a trainer does not have: which it had once, and which are near one that it
has. They are notes and never refusals, as a recipe may have names of its own."""

import difflib
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from entrostat.doctor.read import read_file
from entrostat.doctor.settings import MAX_TEXT, listed

RETIRED = Path(__file__).with_name("retired.yaml")
TITLES: Mapping[str, str] = {"trl": "TRL", "verl": "verl"}


@functools.cache
def retired(trainer: Literal["trl", "verl"]) -> Mapping[str, str]:
    """Names that it had, each with the last minor release in which it was."""
    content = read_file(RETIRED)
    last = {name: f"{TITLES[trainer]} {at}" for name, at in content[trainer].items()}
    if trainer == "trl":
        # a GRPOConfig has the fields of transformers' TrainingArguments
        for name, at in content["transformers"].items():
            last[name] = f"transformers {at}"
    return last


def unknown_notes(
    trainer: Literal["trl", "verl"],
    version: str,
    unknown: Mapping[str, Iterable[str]],
) -> list[str]:
    """At most two notes: the names of older versions, and all others.

    Args:
        unknown: each name that the trainer does not have, with those that stand beside
            it where it has them.
    """
    old: dict[str, list[str]] = {}
    others = []
    for name, beside in unknown.items():
        release = retired(trainer).get(name)
        if release is not None:
            old.setdefault(release, []).append(name)
        else:
            others.append(_with_near(name, beside))
    title = TITLES[trainer]
    notes = []
    if old:
        parts = [f"until {at}: {listed(old[at])}" for at in sorted(old)]
        notes.append(
            f"{title} {version} has these settings no more: {'; '.join(parts)}"
        )
    if others:
        notes.append(
            f"not read, as {title} {version} has no such setting: {listed(others)}"
        )
    return notes


def _with_near(name: str, beside: Iterable[str]) -> str:
    last = name.rpartition(".")[2][:MAX_TEXT]
    # a typo, rather than another word
    near = difflib.get_close_matches(last, sorted(beside), n=2, cutoff=0.8)
    return f"{name} (did you mean {' or '.join(near)}?)" if near else name
