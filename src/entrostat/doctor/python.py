"""Finds the configuration in Python source or a notebook: calls of GRPOConfig and its like, read and never run.

An argument is known where it is a constant, a name that the source sets once to something known, simple arithmetic on
these, or an attribute default that the source shows. Everything else is open, with the source's own words.
"""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from entrostat.doctor.python_options import Given, last_name, options

ASYNC = "AsyncGRPOConfig"
CONFIGS = ("GRPOConfig", ASYNC)
"""Classes whose fields the doctor reads; a class of the source that is derived from one is read too."""
PYTHON_CELLS = ("%%capture", "%%time")
"""Magics of a cell whose rest is Python."""
MAX_NODES = 200_000


class Open(ValueError):
    """A value that the source does not show; its text is the source's own."""


@dataclasses.dataclass(frozen=True)
class Call:
    """One configuration that the source makes."""

    name: str
    """As the source calls it: GRPOConfig."""
    root: str
    """The class of CONFIGS that it is, or is derived from."""
    line: int
    fields: Mapping[str, Any]
    """What is known."""
    open: Mapping[str, str]
    """What is not, in the source's words."""


def read_notebook(text: str) -> str:
    """The code of a Jupyter notebook as one Python source; cells that are magic commands are left out."""
    try:
        cells = json.loads(text)["cells"]
        codes = [
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("no notebook that can be read") from None
    plain = [_without_magics(code) for code in codes]
    # one cell that is no Python hides the others no more than it does in Jupyter
    return "\n".join(code for code in plain if _is_python(code) or _has_config(code))


def _without_magics(code: str) -> str:
    lines = [line for line in code.split("\n") if line.strip()]
    first = next((line for line in lines if not line.startswith("#")), "")
    if first.startswith("%%") and not first.startswith(PYTHON_CELLS):
        return ""
    # pass keeps a block that held a magic alone
    return re.sub(r"^(\s*)[%!](?:.*\\\n)*.*$", r"\1pass", code, flags=re.MULTILINE)


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _has_config(code: str) -> bool:
    return any(name in code for name in CONFIGS)


def docstring(text: str) -> str:
    """The docstring of a Python source that can be read, without the fences of code."""
    found = ast.get_docstring(ast.parse(text)) or ""
    return re.sub(r"^```.*$", "", found, flags=re.MULTILINE)


def read_calls(text: str, given: Given | None = None) -> list[Call]:
    """The configurations of a Python source, in its order. ValueError where it is none.

    `given` is what the source's own command line says; without it the defaults of the
    source's parser stand.
    """
    nodes = _nodes(text)
    names = _constants(nodes) | options(nodes, given or Given({}, frozenset()))
    kinds = _config_classes(nodes)
    inside = _in_trainers(nodes)
    calls = []
    for node in nodes:
        if not isinstance(node, ast.Call) or id(node) in inside:
            continue
        if last_name(node.func) in kinds:
            root, defaults = kinds[last_name(node.func)]
            calls.append(_call(node, root, defaults, names))
    return [_with_later(call, nodes, names) for call in calls]


def imports_unsloth(text: str) -> bool:
    """Whether the source imports unsloth, which replaces TRL's trainer."""
    modules = []
    for node in _nodes(text):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
    return any(module.partition(".")[0] == "unsloth" for module in modules)


def _nodes(text: str) -> list[ast.AST]:
    """All of a source's syntax tree. ValueError where it is none."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"no Python that can be read{line}") from None
    return list(_walk(tree))


def _in_trainers(nodes: Sequence[ast.AST]) -> set[int]:
    """What stands inside the class of a trainer: a configuration that is made there is
    what the trainer takes when it is given none, and starts no run."""
    inside: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.ClassDef) and any(
            last_name(base).endswith("Trainer") for base in node.bases
        ):
            inside |= {id(each) for each in ast.walk(node)}
    return inside


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    for number, node in enumerate(ast.walk(tree)):
        if number > MAX_NODES:
            raise ValueError("the source is too large to read")
        yield node


class _Kind(NamedTuple):
    root: str
    """Of CONFIGS."""
    defaults: dict[str, ast.expr]
    """That the source itself gives to fields."""


def _config_classes(nodes: Sequence[ast.AST]) -> dict[str, _Kind]:
    """The classes by name."""
    kinds = {name: _Kind(name, {}) for name in CONFIGS}
    if not _is_imported(ASYNC, nodes):
        # other libraries have a class of that name
        del kinds[ASYNC]
    for node in nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        parents = [
            kinds[last_name(base)] for base in node.bases if last_name(base) in kinds
        ]
        if parents:
            defaults = dict(parents[0].defaults)
            for line in node.body:
                if (
                    isinstance(line, ast.AnnAssign)
                    and isinstance(line.target, ast.Name)
                    and line.value
                ):
                    defaults[line.target.id] = line.value
            kinds[node.name] = _Kind(parents[0].root, defaults)
    return kinds


def _is_imported(name: str, nodes: Sequence[ast.AST]) -> bool:
    """Whether the source imports that name from TRL."""
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "")[:3] == "trl":
            names += [alias.name for alias in node.names]
    return name in names


def _constants(nodes: Sequence[ast.AST]) -> dict[str, ast.expr]:
    """Names that are set once in the whole source, by a plain assignment."""
    values: dict[str, ast.expr] = {}
    often: set[str] = set()
    for node in nodes:
        for target, value in _assigned(node):
            if target in values:
                often.add(target)
            if value is None:
                often.add(target)
            else:
                values[target] = value
    return {name: value for name, value in values.items() if name not in often}


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple):
                for each in target.elts:
                    yield last_name(each), None
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif isinstance(node, ast.AugAssign | ast.For | ast.NamedExpr):
        yield last_name(node.target), None
    elif isinstance(node, ast.arg):
        yield node.arg, None


def _call(
    node: ast.Call,
    root: str,
    defaults: Mapping[str, ast.expr],
    names: Mapping[str, ast.expr],
) -> Call:
    given: dict[str, ast.expr] = dict(defaults)
    open_: dict[str, str] = {}
    if node.args:
        # the first field of a GRPOConfig
        given["output_dir"] = node.args[0]
    for argument in node.args[1:]:
        open_["*"] = ast.unparse(argument)[:60]
    for keyword in node.keywords:
        if keyword.arg is not None:
            given[keyword.arg] = keyword.value
            continue
        spread = _dictionary(keyword.value, names)
        if spread is None:
            open_["**" + ast.unparse(keyword.value)[:40]] = (
                "fields that stand elsewhere"
            )
        else:
            given |= spread
    fields = {}
    for name, value in given.items():
        try:
            fields[name] = _value(value, names, 0)
        except Open as error:
            open_[name] = str(error)
    return Call(last_name(node.func), root, node.lineno, fields, open_)


def _dictionary(
    node: ast.expr, names: Mapping[str, ast.expr]
) -> dict[str, ast.expr] | None:
    """The entries of {...}, of dict(...), or of a name for one."""
    if isinstance(node, ast.Name) and node.id in names:
        node = names[node.id]
    if isinstance(node, ast.DictComp):
        return _filtered(node, names)
    if isinstance(node, ast.Call) and last_name(node.func) == "dict" and not node.args:
        entries = {str(keyword.arg): keyword.value for keyword in node.keywords}
        # dict(**other) holds entries that stand elsewhere
        return None if "None" in entries else entries
    if isinstance(node, ast.Dict):
        entries: dict[str, ast.expr] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None
            entries[key.value] = value
        return entries
    return None


def _filtered(
    node: ast.DictComp, names: Mapping[str, ast.expr]
) -> dict[str, ast.expr] | None:
    """{k: v for k, v in OPTIONS.items() if ...}, as a source takes the fields that its
    TRL has: all entries of OPTIONS."""
    source = node.generators[0]
    same = ast.unparse(source.target) in (
        f"{ast.unparse(node.key)}, {ast.unparse(node.value)}",
        f"({ast.unparse(node.key)}, {ast.unparse(node.value)})",
    )
    items = source.iter
    if not same or len(node.generators) > 1 or not isinstance(items, ast.Call):
        return None
    if not isinstance(items.func, ast.Attribute) or items.func.attr != "items":
        return None
    return _dictionary(items.func.value, names)


def _with_later(
    call: Call, nodes: Sequence[ast.AST], names: Mapping[str, ast.expr]
) -> Call:
    """The call with what is set on its object afterwards: training_args.epsilon = 0.3."""
    owner = next(
        (name for name, value in names.items() if value in nodes and _is(value, call)),
        "",
    )
    fields, open_ = dict(call.fields), dict(call.open)
    for node in nodes:
        if not isinstance(node, ast.Assign) or not owner:
            continue
        for target in node.targets:
            if isinstance(target, ast.Attribute) and last_name(target.value) == owner:
                fields.pop(target.attr, None)
                try:
                    fields[target.attr] = _value(node.value, names, 0)
                except Open as error:
                    open_[target.attr] = str(error)
    return dataclasses.replace(call, fields=fields, open=open_)


def _is(value: ast.expr, call: Call) -> bool:
    return (
        isinstance(value, ast.Call)
        and value.lineno == call.line
        and last_name(value.func) == call.name
    )


_OPERATORS: Mapping[type, Any] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
}


def _value(node: ast.expr, names: Mapping[str, ast.expr], depth: int) -> Any:
    """What an expression is. Open where the source does not show it."""
    if depth < 20:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return _value(names[node.id], names, depth + 1)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
            return _value(names[ast.unparse(node)], names, depth + 1)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -_number(node.operand, names, depth)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = (
                _number(side, names, depth) for side in (node.left, node.right)
            )
            try:
                return _OPERATORS[type(node.op)](left, right)
            except (ZeroDivisionError, OverflowError):
                pass
        if isinstance(node, ast.IfExp | ast.BoolOp):
            chosen = _chosen(node, names, depth)
            if chosen is not None:
                return _value(chosen, names, depth + 1)
        if isinstance(node, ast.List | ast.Tuple):
            return [_value(each, names, depth + 1) for each in node.elts]
        entries = _dictionary(node, names)
        if entries is not None:
            return {
                key: _value(value, names, depth + 1) for key, value in entries.items()
            }
        if (
            isinstance(node, ast.Call)
            and last_name(node.func) == "float"
            and len(node.args) == 1
        ):
            text = _value(node.args[0], names, depth + 1)
            if isinstance(text, str | int | float) and re.fullmatch(
                r"[-+]?(inf|[\d.e+-]+)", str(text)
            ):
                return float(text)
    raise Open(" ".join(ast.unparse(node).split())[:60])


def _chosen(
    node: ast.IfExp | ast.BoolOp, names: Mapping[str, ast.expr], depth: int
) -> ast.expr | None:
    """Which part of `a if test else b` or `a or b` it is; None where that is not known."""
    try:
        if isinstance(node, ast.IfExp):
            return node.body if _value(node.test, names, depth + 1) else node.orelse
        if isinstance(node.op, ast.Or):
            *first, last = node.values
            true = (each for each in first if _value(each, names, depth + 1))
            return next(true, last)
    except Open:
        pass
    return None


def _number(node: ast.expr, names: Mapping[str, ast.expr], depth: int) -> float | int:
    value = _value(node, names, depth + 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Open(" ".join(ast.unparse(node).split())[:60])
    return value
