"""Reads the scripts that start a run: bash, Python, a notebook. Nothing is executed.

The result is a Source, as of any configuration. What the script does not show is in its
notes.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.doctor import trl, verl
from entrostat.doctor.bash import read_bash
from entrostat.doctor.hydra import VERL_OWN, composed
from entrostat.doctor.launch import MODULE, Launch, launches
from entrostat.doctor.others import OTHERS
from entrostat.doctor.others_settings import flag_name
from entrostat.doctor.python import (
    ASYNC,
    Call,
    docstring,
    imports_unsloth,
    read_calls,
    read_notebook,
)
from entrostat.doctor.python_options import Given
from entrostat.doctor.read import (
    SHELL,
    SUFFIXES,
    Override,
    Source,
    parsed_word,
    text_of,
)
from entrostat.doctor.settings import NOT_JUDGED

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
    runs = []
    for launch in found.launches:
        made = _made(launch, path.parent)
        if launch.sure or made is not None:
            runs.append((launch, made))
    if not runs:
        raise ValueError(f"no command in it starts a trainer that is read{_why(notes)}")
    (first, made), *more = runs
    for launch, _ in more:
        notes.append(f"line {launch.line} starts another run, which was not read")
    where = f"{path}, line {first.line}"
    if made is not None:
        return _with_python(first, made, where, notes)
    stale = first.entry if re.search(r"async|one_step_off", first.entry) else ""
    fields: Mapping[str, Any] = {}
    if first.config is not None:
        fields, note = _config(first, path.parent)
        notes += note
    overrides = _overrides(first)
    notes += _open_notes(first.open, first.trainer)
    return Source(
        where,
        fields,
        tuple(overrides),
        notes=tuple(notes),
        processes=first.processes,
        trainer=first.trainer,
        open=frozenset(first.open),
        stale=stale,
        main=_main(first),
    )


def _main(launch: Launch) -> str:
    """The entry of a verl command; `?` where it names a configuration that is not the
    entry's own."""
    own = launch.config is None or Path(launch.config).stem in VERL_OWN
    return launch.entry if own else "?"


def _why(notes: Sequence[str]) -> str:
    """What may have hidden a command, and what to do instead."""
    hidden = f" ({'; '.join(notes[:3])})" if notes else ""
    return f"{hidden}: give the file with the settings, or KEY=VALUE words"


class Made(NamedTuple):
    """The configuration that a Python file makes of its command line."""

    file: Path
    call: Call
    unsloth: str


def _made(launch: Launch, folder: Path) -> Made | None:
    """Where a command starts a Python file that makes a GRPOConfig of its own options;
    None where the options are TRL's own, or the file is not here."""
    if launch.trainer != "trl":
        return None
    name = launch.entry
    if MODULE.fullmatch(name) and not name.endswith(".py"):
        name = f"{name.replace('.', '/')}.py"
    file = _located(name, folder, least=1)
    if file is None or file.suffix != ".py":
        return None
    values = {flag_name(key): value for key, value in launch.settings}
    if launch.config is not None:
        values["config"] = launch.config
    try:
        text = text_of(file)
        calls = read_calls(text, Given(values, frozenset(launch.open)))
    except ValueError:
        return None
    if not calls or any(name in text for name in PARSERS):
        return None
    return Made(file, calls[0], _unsloth(text))


def _with_python(
    launch: Launch, made: Made, where: str, notes: Sequence[str]
) -> Source:
    return Source(
        f"{where}, through {made.file}, line {made.call.line}",
        made.call.fields,
        notes=(*notes, *_call_notes(made.call)),
        processes=launch.processes,
        trainer=_trainer(made.call),
        open=_open_fields(made.call),
        unsloth=made.unsloth,
    )


def _located(name: str, folder: Path, *, least: int) -> Path | None:
    """A file that a script names, from the working directory or from the script's folder
    and those above it. A script may run elsewhere, so first folders of the name may be
    missing; `least` parts of it must agree."""
    parts = Path(name).parts
    places = [Path(), folder, *list(folder.resolve().parents)[:3]]
    for start in range(max(1, len(parts) - least + 1)):
        for place in places:
            file = place / Path(*parts[start:])
            if file.is_file():
                return file
    return None


def _config(launch: Launch, folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The file of settings that a command names, where it can be found."""
    name = re.sub(r"^\$\(pwd\)/|^\$\{(PWD|pwd)\}/", "", launch.config or "")
    if Path(name).stem in VERL_OWN:
        return {}, []
    names = [name] if Path(name).suffix else [f"{name}.yaml", f"{name}.yml"]
    for each in names:
        file = _located(each, folder, least=2)
        if file is not None and file.suffix in SUFFIXES:
            return composed(file)
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


def _read_by(trainer: str) -> set[str]:
    """The names that the doctor reads of a trainer."""
    if trainer in OTHERS:
        settings = OTHERS[trainer].settings.values()
        return {name for each in settings for name in (each.name, *each.before)}
    return set(verl.KINDS if trainer == "verl" else trl.KINDS)


def _open_notes(unknown: Mapping[str, str], trainer: str) -> list[str]:
    """A note for each setting that the doctor would read, if the script showed it."""
    kinds = _read_by(trainer)
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
        where = " but for a trainer's own default" if "GRPOConfig(" in source else ""
        raise ValueError(f"no GRPOConfig(...) in it{where}: {hint}")
    first, *more = calls
    notes = [
        f"line {call.line} makes another {call.name}, which was not read"
        for call in more
    ]
    return Source(
        _named(path, first),
        first.fields,
        notes=(*notes, *_call_notes(first)),
        trainer=_trainer(first),
        open=_open_fields(first),
        unsloth=_unsloth(source),
    )


def _trainer(call: Call) -> str:
    return "trl-async" if call.root == ASYNC else "trl"


def _call_notes(call: Call) -> list[str]:
    # **options, whose names are not known either
    notes = [f"{key}: {what}" for key, what in call.open.items() if "*" in key]
    return notes + _open_notes(call.open, _trainer(call))


def _open_fields(call: Call) -> frozenset[str]:
    """The fields that are not known: behind **options every one may be set."""
    if any("*" in key for key in call.open):
        read = _read_by(_trainer(call))
        return frozenset(call.open.keys() | read - call.fields.keys())
    return frozenset(call.open)


def _unsloth(source: str) -> str:
    return "the script imports unsloth" if imports_unsloth(source) else ""


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
