"""A dataclass's options as its source says them, without importing it.

The module of a method imports torch, which takes a second; its options are a few numbers
and words. So what was typed behind a method is read against a class of the same fields,
and the method itself is imported when that is in order.
"""

import ast
import builtins
import dataclasses
import importlib
import importlib.util
import inspect
from functools import cache
from typing import Any, NamedTuple, cast

_OURS = "entrostat."


@cache
def unloaded(path: str) -> type[Any]:
    """A dataclass with the fields, defaults and texts of the one at "module:Class".

    Its checks are left out: `__post_init__` is code of the module.
    """
    module, _, name = path.partition(":")
    source = _source(module)
    fields = []
    for field, said in source.fields(name).items():
        annotation = _value(said.annotation, said.source)
        default = dataclasses.field(metadata={"help": said.text})
        if said.default is not None:
            value = _value(said.default, said.source)
            default = dataclasses.field(default=value, metadata={"help": said.text})
        fields.append((field, annotation, default))
    text = ast.get_docstring(cast(ast.ClassDef, source.defined[name])) or ""
    return dataclasses.make_dataclass(
        name, fields, frozen=True, namespace={"__doc__": inspect.cleandoc(text)}
    )


class _Field(NamedTuple):
    """A field, as it is written."""

    annotation: ast.expr
    default: ast.expr | None
    text: str
    """The string below it."""
    source: "_Source"
    """The module, whose names the expressions speak of."""


class _Source:
    """A module that is read and not imported."""

    def __init__(self, module: str):
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None, module
        with open(spec.origin, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        self.defined: dict[str, ast.stmt] = {}
        """What stands at its top level, by name."""
        for node in tree.body:
            for name in _names(node):
                self.defined[name] = node

    def fields(self, name: str) -> dict[str, _Field]:
        """The fields of a class, those of its bases first."""
        node = self.defined.get(name)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_OURS):
            return _source(node.module or "").fields(name)
        fields: dict[str, _Field] = {}
        if not isinstance(node, ast.ClassDef):
            # a base of Python itself, such as ABC
            return fields
        for base in node.bases:
            fields |= self.fields(ast.unparse(base))
        for line, below in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                field = _Field(line.annotation, line.value, _text(below), self)
                fields[line.target.id] = field
        return fields


@cache
def _source(module: str) -> _Source:
    return _Source(module)


def _names(node: ast.stmt) -> list[str]:
    """What a statement of a module defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _text(below: ast.stmt | None) -> str:
    """The string that stands under a field."""
    if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
        return str(below.value.value)
    return ""


def _value(expression: ast.expr, source: _Source) -> Any:
    """What an annotation or a default is: our own code, evaluated with the names that it
    uses."""
    scope: dict[str, Any] = {}
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and not hasattr(builtins, node.id):
            scope[node.id] = _named(node.id, source)
    return eval(ast.unparse(expression), scope)


def _named(name: str, source: _Source) -> Any:
    """A name of the module: imported, or a constant."""
    node = source.defined[name]
    if isinstance(node, ast.ImportFrom):
        return getattr(importlib.import_module(node.module or ""), name)
    if isinstance(node, ast.Import):
        return importlib.import_module(name)
    assert isinstance(node, ast.Assign), name
    return _value(node.value, source)
