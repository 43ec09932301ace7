"""Reads a configuration as data: JSON, YAML or TOML in a file, words KEY=VALUE, or an
object of a module.

A file is never executed: YAML's tags are refused, its aliases are counted at full
length, size and depth are bounded. Every fault is a ValueError (or OSError) of one line
that names the file.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import yaml

from entrostat.doctor.settings import short

# far over any real configuration, far under what takes seconds or all memory
MAX_BYTES = 256 * 1024
MAX_NOTEBOOK = 32 * 1024 * 1024
"""A notebook keeps the outputs of its cells, pictures too; its code alone is read."""
MAX_NODES = 20_000
"""Values of a YAML document, aliases counted at full length."""
MAX_DEPTH = 40
MAX_WORD = 10_000
"""Characters of a value on the command line."""
MAX_REASON = 200
"""Characters of another library's message."""
WANDB_OWN = ("wandb_version", "_wandb")
"""What wandb writes into a run's config.yaml beside the run's own settings."""
SUFFIXES = (".json", ".yaml", ".yml", ".toml")
SHELL = (".sh", ".bash", ".sbatch", ".slurm")
SCRIPTS = (*SHELL, ".py", ".ipynb")
"""Read by doctor/script.py."""


class Override(NamedTuple):
    """A word KEY=VALUE."""

    key: str
    value: Any
    added: bool
    """It was +KEY=VALUE, which may be a new field."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What was given, before it is known to be TRL's or verl's."""

    name: str
    """The file, module:object or `command line`."""
    fields: Mapping[str, Any]
    overrides: tuple[Override, ...] = ()
    owner: type | None = None
    """The class of an imported object."""
    notes: tuple[str, ...] = ()
    """What of a script was not read or is not known, a sentence each."""
    processes: int | None = None
    """Processes of the run, where a script says it."""
    trainer: str | None = None
    """Where a script says it: `trl`, `verl` or one of doctor/others.py."""
    open: frozenset[str] = frozenset()
    """Settings whose value a script does not show."""
    stale: str = ""
    """What in a script shows that rollouts are of an older policy."""
    main: str = ""
    """The module that a script starts; `?` where it does with another configuration than
    the module's own."""
    unsloth: str = ""
    """What in a script shows that unsloth is in use."""


# Files


def read_file(path: Path) -> Mapping[str, Any]:
    """The fields of a JSON, YAML or TOML file. ValueError or OSError where it cannot be
    read."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        kinds = ", ".join(SUFFIXES + SCRIPTS)
        raise ValueError(f"{path} must end in {kinds}, or be module:object")
    text = text_of(path)
    try:
        fields = _parsed(text, suffix)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    except (ValueError, yaml.YAMLError, OverflowError) as error:
        raise ValueError(f"{path}: {reason(error)}") from None
    if not _is_fields(fields):
        raise ValueError(f"{path} must hold fields by name, got {short(fields)}")
    return _unwrapped(fields)


def _unwrapped(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings themselves, where wandb's config.yaml has each one under `value`."""
    own = {key: each for key, each in fields.items() if key not in WANDB_OWN}
    wrapped = [isinstance(each, Mapping) and "value" in each for each in own.values()]
    if not own or not all(wrapped):
        return fields
    return {key: each["value"] for key, each in own.items()}


def is_interpolation(value: Any) -> bool:
    """Whether it is text with a ${...} in it, which stands for another value."""
    return isinstance(value, str) and "${" in value


def text_of(path: Path) -> str:
    """The text of a file. ValueError or OSError where there is none that can be read."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    most = MAX_NOTEBOOK if path.suffix.lower() == ".ipynb" else MAX_BYTES
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        limit = most // 1024
        raise ValueError(
            f"{path} is larger than {limit} KiB, too large for a configuration"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {reason(error)}") from None


def _is_fields(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is a mapping whose keys are text."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _parsed(text: str, suffix: str) -> Any:
    """The document, in whatever way its format is read."""
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_by_name)
    if suffix == ".toml":
        return tomllib.loads(text)
    return _yaml(text)


def _by_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object. ValueError for a key that is set twice, where Python
    keeps the last one silently."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"{short(key)} is set twice")
        fields[key] = value
    return fields


def _yaml(text: str) -> Any:
    """A YAML document as plain values. ValueError or yaml.YAMLError for another."""
    # the pure Python loader: in libyaml, which is C, a deep document is a crash
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _check_tree(node)
        return loader.construct_document(node)
    except (TypeError, AttributeError, KeyError) as error:
        # PyYAML's own slips on values that it half recognises
        raise ValueError(f"not YAML that can be read ({reason(error)})") from None
    finally:
        loader.dispose()


def _check_tree(root: yaml.Node) -> None:
    """ValueError for a key that is set twice, and for a document that would be too large
    with every alias written out."""
    todo = [(root, 0)]
    nodes = 0
    while todo:
        node, depth = todo.pop()
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(
                "too many or too deeply nested values, aliases counted at full length"
            )
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        for child in _children(node):
            todo.append((child, depth + 1))


def _check_keys(node: yaml.MappingNode) -> None:
    """ValueError for a key that is set twice, where PyYAML keeps the last one
    silently."""
    seen = set()
    for key, _ in node.value:
        # <<, which merges another mapping, may stand several times
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            continue
        if key.value in seen:
            raise ValueError(f"{short(key.value)} is set twice")
        seen.add(key.value)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    """A mapping's keys and values, or a sequence's items. An alias is the node that it
    names, so it comes again at each place."""
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def reason(error: BaseException) -> str:
    """What an error says, in one printable line of bounded length."""
    text = str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        # str() would quote the lines of the file
        text = error.problem or ""
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            text += f" (line {mark.line + 1})"
    line = " ".join(text.split())
    printable = "".join(c if c.isprintable() else "?" for c in line)
    return printable[:MAX_REASON] or type(error).__name__


# Words


def overrides(words: Sequence[str]) -> tuple[Override, ...]:
    """The words that set a value, as verl's command line takes them."""
    settings = []
    for word in words:
        # ~KEY takes a setting away, and KEY@PACKAGE or GROUP/NAME chooses another file:
        # neither sets what is read here
        if not re.match(r"~[A-Za-z_]|[+~]*[\w.-]*[@/][^=]*=", word):
            settings.append(_override(word))
    return tuple(settings)


def _override(word: str) -> Override:
    """KEY=VALUE as Hydra reads it, to the extent that a checker needs: the value is YAML,
    or else text."""
    match = re.fullmatch(r"(\+{0,2})([A-Za-z_][\w.]*)=(.*)", word, re.DOTALL)
    if match is None:
        raise ValueError(f"{short(word)} is no KEY=VALUE")
    plus, key, text = match.groups()
    if len(text) > MAX_WORD:
        raise ValueError(f"the value of {short(key)} is too long")
    return Override(key, parsed_word(text), added=bool(plus))


def parsed_word(text: str) -> Any:
    """The value of a word: YAML, or else text."""
    try:
        return _yaml(text) if text.strip() else None
    except (ValueError, yaml.YAMLError, RecursionError, OverflowError):
        # whoever wants another kind of value refuses it by name
        return text


# Modules


def imported(name: str) -> Source:
    """The object called module:object, by importing the module, from the working
    directory too."""
    module_name, _, path = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        # a module may print at import, and stdout belongs to the result
        with contextlib.redirect_stdout(sys.stderr):
            value: Any = importlib.import_module(module_name)
            for attribute in path.split("."):
                value = getattr(value, attribute)
    except (Exception, SystemExit) as error:
        hint = ""
        # GRPOConfig's own refusals of a machine without a GPU
        if "use_cpu" in str(error) or "bf16" in str(error):
            hint = ": on such a machine give a dict of GRPOConfig's fields instead"
        raise ValueError(
            f"{name} cannot be imported: {type(error).__name__}: {reason(error)}{hint}"
        ) from None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: getattr(value, name, None) for name in names}
        return Source(name, fields, owner=type(value))
    if _is_fields(value):
        return Source(name, dict(value))
    got = short(type(value).__name__)
    raise ValueError(f"{name} must be a GRPOConfig or a dict of fields, got {got}")
