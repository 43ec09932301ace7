"""Reads a configuration as data: JSON, YAML or TOML in a file, words KEY=VALUE, or an object of a module.

A file is never executed: YAML's tags are refused, its aliases are counted at full length, size and depth are bounded.
Every fault is a ValueError (or OSError) of one line that names the file.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from entrostat.doctor.settings import short

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 40
SUFFIXES = (".json", ".yaml", ".yml", ".toml")


@dataclasses.dataclass(frozen=True)
class Source:
    """What was given, before it is known to be TRL's or verl's."""

    name: str
    """The file, module:object or `command line`."""
    fields: Mapping[str, Any]
    overrides: tuple[tuple[str, Any, bool], ...] = ()
    """(key, value, added): words KEY=VALUE; added is True for +KEY=VALUE, which may be a new field."""
    owner: type | None = None
    """The class of an imported object."""


def read(words: Sequence[str]) -> Source:
    """The configuration of a command line: CONFIG [KEY=VALUE...], or words KEY=VALUE alone, as verl takes them."""
    if not words:
        raise ValueError(
            "no configuration given: entrostat doctor CONFIG [KEY=VALUE...]"
        )
    first, rest = words[0], words[1:]
    if "=" in first and not Path(first).exists():
        return Source("command line", {}, _overrides(words))
    overrides = _overrides(rest)
    if (
        re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", first)
        and not Path(first).exists()
    ):
        return dataclasses.replace(_imported(first), overrides=overrides)
    return Source(first, read_file(Path(first)), overrides)


# Files


def read_file(path: Path) -> Mapping[str, Any]:
    """The fields of a JSON, YAML or TOML file. ValueError or OSError where it cannot be read."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path} must end in {', '.join(SUFFIXES)}, or be module:object"
        )
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{path} is larger than {MAX_BYTES // 1024} KiB, too large for a configuration"
        )
    try:
        found = _parsed(data.decode("utf-8-sig"), path.suffix.lower())
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    except (ValueError, yaml.YAMLError, OverflowError) as error:
        raise ValueError(f"{path}: {reason(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"{path} must hold fields by name, got {short(found)}")
    return found


def _parsed(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_once)
    if suffix == ".toml":
        return tomllib.loads(text)
    return _yaml(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{short(key)} is set twice")
        found[key] = value
    return found


def _yaml(text: str) -> Any:
    # the pure Python loader: libyaml's recursion is C's, where depth is a crash
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _bounded(node)
        return loader.construct_document(node)
    except (TypeError, AttributeError, KeyError) as error:
        # PyYAML's own slips on values that it half recognises
        raise ValueError(f"not YAML that can be read ({reason(error)})") from None
    finally:
        loader.dispose()


def _bounded(root: yaml.Node) -> None:
    """ValueError for a key set twice, and where the document with every alias written out would be too large."""
    todo, seen = [(root, 0)], 0
    while todo:
        node, depth = todo.pop()
        seen += 1
        if seen > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(
                "too many or too deeply nested values, aliases counted at full length"
            )
        if isinstance(node, yaml.MappingNode):
            keys = [
                key.value
                for key, _ in node.value
                if isinstance(key, yaml.ScalarNode) and key.value != "<<"
            ]
            if twice := next(
                (key for i, key in enumerate(keys) if key in keys[:i]), None
            ):
                raise ValueError(f"{short(twice)} is set twice")
            todo += [(child, depth + 1) for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(child, depth + 1) for child in node.value]


def reason(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    text = (
        error.problem or "" if isinstance(error, yaml.MarkedYAMLError) else str(error)
    )
    if isinstance(error, yaml.MarkedYAMLError) and (
        mark := error.problem_mark or error.context_mark
    ):
        text += f" (line {mark.line + 1})"
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return text[:200] or type(error).__name__


# Words


def _overrides(words: Sequence[str]) -> tuple[tuple[str, Any, bool], ...]:
    # ~KEY takes a setting away, and KEY@PACKAGE or GROUP/NAME chooses another file: neither sets what is read here
    return tuple(
        _override(word)
        for word in words
        if not re.match(r"~[A-Za-z_]|[+~]*[\w.-]*[@/][^=]*=", word)
    )


def _override(word: str) -> tuple[str, Any, bool]:
    """KEY=VALUE as Hydra reads it, to the extent that a checker needs: the value is YAML, or else text."""
    match = re.fullmatch(r"(\+{0,2})([A-Za-z_][\w.]*)=(.*)", word, re.DOTALL)
    if match is None:
        raise ValueError(f"{short(word)} is no KEY=VALUE")
    plus, key, text = match.groups()
    if len(text) > 10_000:
        raise ValueError(f"the value of {short(key)} is too long")
    try:
        value = _yaml(text) if text.strip() else None
    except (ValueError, yaml.YAMLError, RecursionError, OverflowError):
        value = text
    return key, value, bool(plus)


# Modules


def _imported(name: str) -> Source:
    """The object called module:object, by importing the module, from the working directory too."""
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        # stdout is the result's
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
    except (Exception, SystemExit) as error:
        hint = (
            ": a dict of its fields can be read where GRPOConfig refuses this machine"
            if _is_config(error)
            else ""
        )
        raise ValueError(
            f"{name} cannot be imported: {type(error).__name__}: {reason(error)}{hint}"
        ) from None
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        fields = {
            field.name: getattr(found, field.name, None)
            for field in dataclasses.fields(found)
        }
        return Source(name, fields, owner=type(found))
    if isinstance(found, Mapping) and all(isinstance(key, str) for key in found):
        return Source(name, dict(found))
    raise ValueError(
        f"{name} must be a GRPOConfig or a dict of fields, got {short(type(found).__name__)}"
    )


def _is_config(error: BaseException) -> bool:
    return "use_cpu" in str(error) or "bf16" in str(error)
