"""How dense code is: tokens per code line, comprehensions, comments and docstrings, one row per package.

    python dev/density.py src/entrostat PATH...

A code line holds at least one token that is neither a comment nor part of a docstring. Line ends and indents are no
tokens. Comments and docstrings are counted in lines, as a share of all lines that are not blank. A nested function is
counted in the one around it too.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LAYOUT = {
    tokenize.NEWLINE,
    tokenize.NL,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


class Count(NamedTuple):
    """What one file, or a package, has."""

    lines: int = 0
    code_lines: int = 0
    tokens: int = 0
    comprehensions: int = 0
    comment_lines: int = 0
    docstring_lines: int = 0
    function_lines: tuple[int, ...] = ()

    def __add__(self, other: "Count") -> "Count":  # type: ignore[override]
        return Count(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def row(self, name: str) -> str:
        """A row of a Markdown table."""
        filled = self.code_lines + self.comment_lines + self.docstring_lines
        lengths = sorted(self.function_lines)
        cells = [
            name,
            f"{self.lines:,}",
            f"{self.code_lines:,}",
            f"{self.tokens / self.code_lines:.1f}",
            f"{100 * self.comprehensions / self.code_lines:.1f}",
            f"{self.comment_lines / filled:.1%}",
            f"{(self.comment_lines + self.docstring_lines) / filled:.1%}",
            f"{lengths[len(lengths) // 2]}",
            f"{lengths[int(0.95 * len(lengths))]}",
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| package | lines | code lines | tokens per code line | comprehensions per 100 code lines | comments | "
    "comments and docstrings | lines per function, median | 95% |\n|" + "---|" * 9
)


def count(text: str) -> Count:
    """The numbers of one file."""
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    docstrings = _docstring_lines(nodes)
    code_lines: set[int] = set()
    comment_lines: set[int] = set()
    tokens = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        first, last = token.start[0], token.end[0]
        if token.type in LAYOUT:
            continue
        if token.type == tokenize.COMMENT:
            comment_lines.add(first)
        elif first not in docstrings:
            tokens += 1
            code_lines.update(range(first, last + 1))
    return Count(
        lines=len(text.splitlines()),
        code_lines=len(code_lines),
        tokens=tokens,
        comprehensions=sum(isinstance(node, COMPREHENSIONS) for node in nodes),
        comment_lines=len(comment_lines - code_lines),
        docstring_lines=len(docstrings),
        function_lines=tuple(_length(node) for node in nodes if isinstance(node, FUNCTIONS)),
    )


def _docstring_lines(nodes: Iterable[ast.AST]) -> set[int]:
    """Of modules, classes and functions, and the texts under a field or a constant."""
    found: set[int] = set()
    for node in nodes:
        if not isinstance(node, DOCUMENTED):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.update(range(statement.lineno, _end(statement) + 1))
    return found


def _length(node: ast.AST) -> int:
    return _end(node) - node.lineno + 1  # type: ignore[attr-defined]


def _end(node: ast.AST) -> int:
    end = node.end_lineno  # type: ignore[attr-defined]
    assert end is not None
    return end


def package(path: Path) -> Count:
    """The numbers of all Python files under a folder, tests apart."""
    total = Count()
    for file in sorted(path.rglob("*.py")):
        inside = file.relative_to(path)
        if "test" not in inside.name and "tests" not in inside.parts:
            total += count(file.read_text())
    return total


if __name__ == "__main__":
    print(HEAD)
    for argument in sys.argv[1:]:
        print(package(Path(argument)).row(Path(argument).name))
