"""Reads the scripts that start a run: bash, Python, a notebook. Nothing is executed.

The result is a Source, as of any configuration. What the script does not show is in its
notes.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor import trl, verl
from entrostat.doctor.bash import read_bash
from entrostat.doctor.launch import Launch, launches
from entrostat.doctor.others import OTHERS
from entrostat.doctor.python import Call, docstring, read_calls, read_notebook
from entrostat.doctor.read import (
    SHELL,
    SUFFIXES,
    Override,
    Source,
    parsed_word,
    read_file,
    text_of,
)
from entrostat.doctor.settings import NOT_JUDGED

VERL_BASES = ("ppo_trainer", "ppo_megatron_trainer")
"""verl's own configurations, whose values are the defaults anyway."""
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
            f"no command in it starts a trainer that is read{why}: give the file with the settings, "
            "or KEY=VALUE words"
        )
    first, *more = found.launches
    stale = first.entry if re.search(r"async|one_step_off", first.entry) else ""
    for launch in more:
        notes.append(f"line {launch.line} starts another run, which was not read")
    fields: Mapping[str, Any] = {}
    if first.config is not None:
        fields, note = _config(first, path.parent)
        notes += note
    overrides = _overrides(first)
    notes += _open_notes(first.open, first.trainer)
    return Source(
        f"{path}, line {first.line}",
        fields,
        tuple(overrides),
        notes=tuple(notes),
        processes=first.processes,
        trainer=first.trainer,
        open=frozenset(first.open),
        stale=stale,
    )


def _config(launch: Launch, folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The file of settings that a command names, where it can be found from the working
    directory or from the script's folder and those above it."""
    name = re.sub(r"^\$\(pwd\)/|^\$\{(PWD|pwd)\}/", "", launch.config or "")
    if Path(name).stem in VERL_BASES:
        return {}, []
    names = [name] if Path(name).suffix else [f"{name}.yaml", f"{name}.yml"]
    places = [Path(), folder, *list(folder.resolve().parents)[:3]]
    for place in places:
        for each in names:
            file = place / each
            if file.suffix in SUFFIXES and file.is_file():
                return read_file(file), []
    return {}, [
        f"the file {name} was not found, so the trainer's own defaults stand in its place"
    ]


def _overrides(launch: Launch) -> list[Override]:
    overrides: list[Override] = []
    for key, value in launch.settings:
        plain = key.lstrip("+")
        # ~KEY takes a setting away, KEY@PACKAGE and GROUP/NAME choose another file
        if not re.fullmatch(r"[A-Za-z_][\w.]*", plain):
            continue
        overrides.append(Override(plain, parsed_word(value), added=key != plain))
    return overrides


def _open_notes(unknown: Mapping[str, str], trainer: str) -> list[str]:
    """A note for each setting that the doctor would read, if the script showed it."""
    if trainer in OTHERS:
        settings = OTHERS[trainer].settings.values()
        kinds = {name for each in settings for name in (each.name, *each.before)}
    else:
        kinds = verl.KINDS if trainer == "verl" else trl.KINDS
    notes = []
    for key, what in unknown.items():
        if key in kinds:
            notes.append(
                f"{key} is not known, as the script does not show {what}: {NOT_JUDGED}"
            )
    return notes


# Python


def _python(path: Path, text: str) -> Source:
    source = read_notebook(text) if path.suffix.lower() == ".ipynb" else text
    calls = read_calls(source)
    if not calls:
        documented = _documented(path, source)
        if documented is not None:
            return documented
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
    return Source(
        name,
        first.fields,
        notes=tuple(notes),
        trainer="trl",
        open=frozenset(first.open),
    )


def _documented(path: Path, source: str) -> Source | None:
    """The command that the docstring of a script for GRPO shows; None where there is
    none."""
    text = docstring(source)
    if "GRPOConfig" not in source or not launches(read_bash(text)).launches:
        return None
    found = _shell(path, text)
    note = "its settings come from its command line: the one in its docstring was read"
    return dataclasses.replace(found, name=str(path), notes=(note, *found.notes))


def _named(path: Path, call: Call) -> str:
    # a line of a notebook's joined cells is no line that a reader can find
    if path.suffix.lower() == ".ipynb":
        return str(path)
    return f"{path}, line {call.line}"
