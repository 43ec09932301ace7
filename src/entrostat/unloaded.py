"""What a module defines as its source says it, without importing the module.

The module of a method imports torch, which takes a second; its options are a few numbers
and words, and so are the checks of them. So what was typed behind a method is read by a
class of the same fields and checks, and the method itself is imported when that is in
order.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

_OURS = "entrostat."
_CHECK = "__post_init__"


@cache
def unloaded(path: str) -> type[Any]:
    """A dataclass with the fields, defaults, texts and checks of the one at
    "module:Class"."""
    module, _, name = path.partition(":")
    return _source(module).dataclass(name)


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
        self.imports = list(_imports(tree))
        """Modules that it imports."""
        self.defined: dict[str, ast.stmt] = {}
        """What stands at its top level, by name."""
        for node in tree.body:
            for name in _names(node):
                self.defined[name] = node

    def dataclass(self, name: str) -> type[Any]:
        """A class of the same fields; of its functions it has the check of them, and
        those that the check reads."""
        fields = []
        for field, said in self._fields(name).items():
            annotation = said.source.value(said.annotation)
            default = dataclasses.field(metadata={"help": said.text})
            if said.default is not None:
                value = said.source.value(said.default)
                default = dataclasses.field(default=value, metadata={"help": said.text})
            fields.append((field, annotation, default))
        node = self.defined[name]
        assert isinstance(node, ast.ClassDef), name
        text = inspect.cleandoc(ast.get_docstring(node) or "")
        return dataclasses.make_dataclass(
            name,
            fields,
            bases=(self._checks(name, self._read_by_check(name)),),
            frozen=True,
            namespace={"__doc__": text},
        )

    def value(self, expression: ast.expr) -> Any:
        """What an annotation, a default or a constant is: our own code, evaluated with
        the names that it uses."""
        return eval(ast.unparse(expression), self._scope(expression))

    def named(self, name: str) -> Any:
        """What a name of the module stands for.

        A function, a constant and a dataclass are made of their source where importing
        them would import torch.
        """
        node = self.defined[name]
        if isinstance(node, ast.Import):
            return importlib.import_module(name)
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if _loads_torch(module):
                return _source(module).named(name)
            return getattr(importlib.import_module(module), name)
        if isinstance(node, ast.ClassDef):
            return self.dataclass(name)
        if isinstance(node, ast.FunctionDef):
            return self._executed(_without_types(node), name)
        assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value, name
        return self.value(node.value)

    def _lineage(self, name: str) -> "Iterator[tuple[_Source, ast.ClassDef]]":
        """The class and its bases, the last first, each with its module; those of Python
        itself, such as ABC, are left out."""
        node = self.defined.get(name)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_OURS):
            yield from _source(node.module or "")._lineage(name)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                yield from self._lineage(ast.unparse(base))
            yield self, node

    def _fields(self, name: str) -> dict[str, _Field]:
        """The fields of a class, those of its bases first."""
        fields: dict[str, _Field] = {}
        for source, node in self._lineage(name):
            for line, below in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(line, ast.AnnAssign) and isinstance(
                    line.target, ast.Name
                ):
                    field = _Field(line.annotation, line.value, _text(below), source)
                    fields[line.target.id] = field
        return fields

    def _read_by_check(self, name: str) -> set[str]:
        """The check, and the functions of the class and its bases that it reads."""
        functions = []
        for _, node in self._lineage(name):
            functions += _functions(node)
        read: set[str] = set()
        more = {_CHECK}
        while more - read:
            read |= more
            for function in functions:
                if function.name in read:
                    more |= _attributes(function)
        return read

    def _checks(self, name: str, functions: set[str]) -> type[Any]:
        """The class with these functions of its own and of its bases alone."""
        made: type[Any] = object
        for source, node in self._lineage(name):
            kept = []
            for function in _functions(node):
                if function.name in functions:
                    kept.append(_without_types(function))
            body = ast.parse(f"class {node.name}(_base): pass").body[0]
            assert isinstance(body, ast.ClassDef)
            body.body = kept or body.body
            made = source._executed(body, node.name, _base=made)
        return made

    def _executed(self, node: ast.stmt, name: str, **given: Any) -> Any:
        """What a definition defines."""
        scope = self._scope(node) | given
        exec(ast.unparse(node), scope)
        return scope[name]

    def _scope(self, node: ast.AST) -> dict[str, Any]:
        """The names of the module that are used there."""
        scope: dict[str, Any] = {}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id in self.defined:
                scope[inner.id] = self.named(inner.id)
        return scope


@cache
def _source(module: str) -> _Source:
    return _Source(module)


@cache
def _loads_torch(module: str) -> bool:
    """Whether importing the module imports torch."""
    if not module.startswith(_OURS):
        return module.partition(".")[0] in ("torch", "transformers", "trl")
    return any(map(_loads_torch, _source(module).imports))


def _imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a module imports."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _names(node: ast.stmt) -> list[str]:
    """What a statement of a module defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [line for line in node.body if isinstance(line, ast.FunctionDef)]


def _attributes(node: ast.AST) -> set[str]:
    """x of everything.x in it."""
    return {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}


def _without_types(node: ast.FunctionDef) -> ast.FunctionDef:
    """The function without its annotations, which may speak of tensors."""
    bare = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(bare, ast.FunctionDef)
    bare.returns = None
    for inner in ast.walk(bare):
        if isinstance(inner, ast.arg):
            inner.annotation = None
    return bare


def _text(below: ast.stmt | None) -> str:
    """The string that stands under a field."""
    if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
        return str(below.value.value)
    return ""
