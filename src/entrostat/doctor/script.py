"""Reads the scripts that start a run: bash, Python, a notebook. Nothing is executed.

The result is a Source, as of any configuration. What the script does not show is in its
notes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor import trl, verl
from entrostat.doctor.bash import read_bash
from entrostat.doctor.launch import Launch, launches
from entrostat.doctor.python import Call, read_calls, read_notebook
from entrostat.doctor.read import (
    SHELL,
    Override,
    Source,
    parsed_word,
    read_file,
    text_of,
)

PARSERS = ("TrlParser", "HfArgumentParser")
"""Classes by which a Python script takes its settings from its command line."""


def read_script(path: Path) -> Source:
    """The first run that a script starts. ValueError or OSError where there is none."""
    text = text_of(path)
    try:
        if path.suffix.lower() in SHELL:
            return _shell(path, text)
        return _python(path, text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# bash


def _shell(path: Path, text: str) -> Source:
    script = read_bash(text)
    found = launches(script)
    notes = [*script.notes, *found.notes]
    if not found.launches:
        why = f" ({'; '.join(notes[:3])})" if notes else ""
        raise ValueError(
            f"no command in it starts TRL or verl{why}: give the file with the settings, "
            "or KEY=VALUE words"
        )
    first, *more = found.launches
    if re.search(r"async|one_step_off", first.entry):
        notes.append(
            f"{first.entry} trains on rollouts of an older policy: what is said of one "
            "update per rollout may not hold there"
        )
    for launch in more:
        notes.append(f"line {launch.line} starts another run, which was not read")
    fields: Mapping[str, Any] = {}
    if first.config is not None:
        fields, note = _config(first, path.parent)
        notes += note
    overrides, unread = _overrides(first)
    notes += unread
    notes += _open_notes(first.open, first.trainer)
    return Source(
        f"{path}, line {first.line}",
        fields,
        tuple(overrides),
        notes=tuple(notes),
        processes=first.processes,
        trainer=first.trainer,
    )


def _config(launch: Launch, folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The file of settings that a command names, where it can be found from the working
    directory or from the script's folder and those above it."""
    name = launch.config or ""
    names = [name] if Path(name).suffix else [f"{name}.yaml", f"{name}.yml"]
    places = [Path(), folder, *list(folder.resolve().parents)[:3]]
    for place in places:
        for each in names:
            file = place / each
            if file.suffix in (".yaml", ".yml", ".json") and file.is_file():
                return read_file(file), []
    trainer = "verl" if launch.trainer == "verl" else "TRL"
    return {}, [
        f"the file {name} was not found, so {trainer}'s own defaults stand in its place"
    ]


def _overrides(launch: Launch) -> tuple[list[Override], list[str]]:
    overrides: list[Override] = []
    notes: list[str] = []
    for key, value in launch.settings:
        plain = key.lstrip("+")
        # ~KEY takes a setting away, KEY@PACKAGE and GROUP/NAME choose another file
        if not re.fullmatch(r"[A-Za-z_][\w.]*", plain):
            continue
        if plain == "data.train_batch_size" and value == "0":
            # the asynchronous mains stream samples, and have no batch of prompts
            notes.append("data.train_batch_size 0 is that of a streaming trainer")
            continue
        overrides.append(Override(plain, parsed_word(value), added=key != plain))
    return overrides, notes


def _open_notes(unknown: Mapping[str, str], trainer: str) -> list[str]:
    """A note for each setting that the doctor would read, if the script showed it."""
    kinds = verl.KINDS if trainer == "verl" else trl.KINDS
    notes = []
    for key, what in unknown.items():
        if key in kinds:
            notes.append(
                f"{key} is not known, and its default was taken: the script does not "
                f"show {what}"
            )
    return notes


# Python


def _python(path: Path, text: str) -> Source:
    source = read_notebook(text) if path.suffix.lower() == ".ipynb" else text
    calls = read_calls(source)
    if not calls:
        parser = next((name for name in PARSERS if name in source), None)
        hint = "give the file with the settings, or KEY=VALUE words"
        if parser is not None:
            hint = (
                f"it takes its settings from its command line ({parser}), so give the "
                "bash script that starts it, or its --config file"
            )
        raise ValueError(f"no GRPOConfig(...) in it: {hint}")
    first, *more = calls
    notes = [
        f"line {call.line} makes another {call.name}, which was not read"
        for call in more
    ]
    # **options, whose names are not known either
    notes += [f"{key}: {what}" for key, what in first.open.items() if "*" in key]
    notes += _open_notes(first.open, "trl")
    name = _named(path, first)
    return Source(name, first.fields, notes=tuple(notes), trainer="trl")


def _named(path: Path, call: Call) -> str:
    # a line of a notebook's joined cells is no line that a reader can find
    if path.suffix.lower() == ".ipynb":
        return str(path)
    return f"{path}, line {call.line}"
