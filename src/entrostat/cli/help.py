"""What --help says: the options of a command in groups, texts that flow.

tyro reads an option's text from the source and keeps its line breaks, and it has one box
for all options of a class. So the help is that of classes made for it: one for each
group, with the same fields and the same texts, each text on one line.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

Groups = Mapping[str, Sequence[str]]
"""Title of a box to the options in it."""
_WIDEST = 100
"""Of a paragraph, in characters."""


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """Catches what is printed, without colours; the value reads it.

    tyro colours its text where stdout is a terminal, and draws boxes where stdout is
    UTF-8.
    """
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield lambda: printed.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]


def help_text(kind: Any, prog: str, groups: Groups) -> str:
    """The help of a command.

    Args:
        kind: the dataclass of its options.
        groups: those that stand in boxes of their own; the others come first.
    """
    options = dict(_options(kind))
    grouped = {name for names in groups.values() for name in names}
    first = {name: field for name, field in options.items() if name not in grouped}
    usage, _, boxes = _rendered(first, prog).strip().partition("\n\n")
    parts = [usage, "", _paragraphs(inspect.getdoc(kind) or ""), "", boxes]
    for title, names in groups.items():
        chosen = {name: options[name] for name in names if name in options}
        if chosen:
            parts.append(_box(_rendered(chosen, prog), title))
    return "\n".join(parts)


def _paragraphs(text: str) -> str:
    """Filled to the terminal's width."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    filled = (textwrap.fill(part, width) for part in text.split("\n\n"))
    return "\n\n".join(filled)


def option_names(kind: Any) -> list[str]:
    """The fields that can be typed, those of dataclasses inside it in their place."""
    return [field.name for _, field in option_fields(kind)]


def _options(kind: Any) -> Iterator[tuple[str, Any]]:
    """Name and (type with its text, field) of each option."""
    from tyro.conf import arg

    for owner, field in option_fields(kind):
        # a class that was made from a source (unloaded.py) has its texts in its fields
        said = field.metadata.get("help") or _texts(owner).get(field.name, "")
        text = " ".join(said.split())
        yield field.name, (Annotated[field.type, arg(help=text)], field)


def option_fields(kind: Any) -> Iterator[tuple[Any, dataclasses.Field[Any]]]:
    """Each field that can be typed, behind the class that it is of."""
    for field in dataclasses.fields(kind):
        # tyro's markers wrap a type: OmitArgPrefixes[TrainConfig], Suppress[...]
        inner = getattr(field.type, "__origin__", field.type)
        if is_marked(field, "Suppress"):
            continue
        if dataclasses.is_dataclass(inner):
            yield from option_fields(inner)
        else:
            yield kind, field


def is_marked(field: dataclasses.Field[Any], marker: str) -> bool:
    """Whether the field's type has tyro's marker of that name around it."""
    return marker in map(repr, getattr(field.type, "__metadata__", ()))


@cache
def _texts(kind: type[Any]) -> dict[str, str]:
    """The string below each field of a class, of its bases too."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        with contextlib.suppress(OSError):
            source = textwrap.dedent(inspect.getsource(base))
            texts |= _texts_in(ast.parse(source).body[0])
    return texts


def _texts_in(definition: Any) -> dict[str, str]:
    texts = {}
    for node, below in zip(definition.body, definition.body[1:], strict=False):
        if not isinstance(node, ast.AnnAssign) or not isinstance(below, ast.Expr):
            continue
        value = below.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            assert isinstance(node.target, ast.Name)
            texts[node.target.id] = value.value
    return texts


def _rendered(options: Mapping[str, Any], prog: str) -> str:
    """tyro's help for these options alone: usage, an empty line, boxes."""
    import tyro

    fields = []
    for name, (annotated, field) in options.items():
        same = dataclasses.field(
            default=field.default, default_factory=field.default_factory, kw_only=True
        )
        fields.append((name, annotated, same))
    # without a text of its own a dataclass has one made of its fields
    kind = dataclasses.make_dataclass("Options", fields, namespace={"__doc__": None})
    with captured() as printed, contextlib.suppress(SystemExit):
        tyro.cli(
            kind,
            args=["--help"],
            prog=prog,
            description="",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    return printed()


def _box(text: str, title: str) -> str:
    """The box of options of a help, under another title, without --help's own line."""
    lines = text.splitlines()
    top = next(i for i, line in enumerate(lines) if line.startswith("╭─ options "))
    width = len(lines[top])
    lines[top] = f"╭─ {title} ".ljust(width - 1, "─") + "╮"
    return "\n".join(line for line in lines[top:] if "│ -h, --help " not in line)
