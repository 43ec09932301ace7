"""The options of a Python source that reads its own command line by argparse: what its
args.X are, by the command that starts it or else by their defaults."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SWITCHES: Mapping[Any, bool] = {"store_true": True, "store_false": False}
"""Actions of argparse, with what the flag alone gives."""


class Given(NamedTuple):
    """What a command line gives the options of a Python source."""

    values: Mapping[str, str]
    """By the option's name, without its dashes."""
    open: frozenset[str]
    """Options whose value is not known."""


def last_name(node: ast.AST) -> str:
    """trl.GRPOConfig is GRPOConfig."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def options(nodes: Sequence[ast.AST], given: Given) -> dict[str, ast.expr]:
    """args.X of an argparse parser, by what its command says, or else by the default of its option."""
    owners = _parsed_names(nodes)
    values: dict[str, ast.expr] = {}
    for node in nodes:
        if not isinstance(node, ast.Call) or last_name(node.func) != "add_argument":
            continue
        flags = [each.value for each in node.args if isinstance(each, ast.Constant)]
        spellings = {str(flag).lstrip("-").replace("-", "_") for flag in flags}
        value = _option(node, spellings, given)
        if value is not None:
            for owner in owners:
                values[f"{owner}.{_destination(node, flags)}"] = value
    return values


def _parsed_names(nodes: Sequence[ast.AST]) -> set[str]:
    """What the source calls the result of its parser; a function often takes it as args."""
    names = {"args"}
    for node in nodes:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if last_name(node.value.func) == "parse_args":
            names |= {last_name(target) for target in node.targets}
    return names - {""}


def _destination(node: ast.Call, flags: Sequence[Any]) -> str:
    for keyword in node.keywords:
        if keyword.arg == "dest" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    # argparse takes the first one with two dashes
    long = [str(flag) for flag in flags if str(flag).startswith("--")]
    first = (long or [str(flag) for flag in flags] or [""])[0]
    return first.lstrip("-").replace("-", "_")


def _option(node: ast.Call, spellings: set[str], given: Given) -> ast.expr | None:
    """The value of an option; None where it is not known."""
    if spellings & given.open:
        return None
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    switch = _switch(keywords.get("action"))
    for name in spellings & given.values.keys():
        if switch is not None:
            return ast.Constant(switch)
        return ast.Constant(_typed(given.values[name], keywords.get("type")))
    if "default" in keywords:
        return keywords["default"]
    if switch is not None:
        return ast.Constant(not switch)
    # without a default argparse gives None, unless the command has to say it
    return None if "required" in keywords else ast.Constant(None)


def _switch(action: ast.expr | None) -> bool | None:
    """What the flag alone gives; None for an option that takes a value."""
    return SWITCHES.get(action.value) if isinstance(action, ast.Constant) else None


def _typed(text: str, kind: ast.expr | None) -> Any:
    """A word of a command line as argparse's type makes it; text where it cannot."""
    name = last_name(kind) if kind is not None else "str"
    try:
        if name in ("int", "float"):
            return int(text) if name == "int" else float(text)
    except ValueError:
        return text
    if name in ("str", "Path"):
        return text
    # a function of the source's own, most often one for truth values
    return {"true": True, "false": False}.get(text.lower(), text)
