"""Reads a bash script as data: the commands that it would run, with their variables filled
in. Nothing is executed.

A script is walked from top to bottom over tree-sitter's syntax tree. Variables, defaults
(${X:-1}), arrays, arithmetic, functions and plain tests ([ -z "$X" ], [[ $X == y ]]) are
followed. What only the machine knows stays open: a variable that comes from outside, the
output of a command, a branch whose condition cannot be decided. An open part stands in
the text as ${NAME}, and the word names it in `open`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from entrostat.doctor.bash_words import (
    INSTEAD,
    Scope,
    Word,
    Words,
    as_word,
    bounded,
    cut_short,
    text_of,
    unknown,
)

MAX_STEPS = 20_000
"""Nodes that are walked at most: functions and loops can be nested."""
MAX_CALLS = 10
"""Functions, and scripts within strings, inside one another at most."""
ARGUMENTS = re.compile(r"[@*#?$!0-9]+")
"""Names of bash's own parameters: what the script is called with."""
THROUGH = {
    "program",
    "pipeline",
    "subshell",
    "compound_statement",
    "negated_command",
    "do_group",
    "declaration_command",
    "redirected_statement",
    "c_style_for_statement",
}
"""Statements that are their parts, one after the other."""
WORDS = {
    "word",
    "string",
    "raw_string",
    "ansi_c_string",
    "concatenation",
    "expansion",
    "simple_expansion",
    "command_substitution",
    "arithmetic_expansion",
    "number",
    "process_substitution",
    "brace_expression",
    "extglob_pattern",
    "regex",
}
"""Kinds of nodes that are words of a command."""
SHELLS = ("bash", "sh", "zsh")


class Command(NamedTuple):
    """A command that the script would run."""

    words: tuple[Word, ...]
    line: int
    """Where it begins, from 1."""


class Script(NamedTuple):
    """What is known of a script."""

    commands: list[Command]
    notes: list[str]
    """What was not followed, a sentence each."""


def read_bash(text: str) -> Script:
    """The commands of a script. ValueError where it needs more steps than a script has."""
    import tree_sitter
    import tree_sitter_bash

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
    reader = _Reader(lambda source: parser.parse(source.encode()).root_node)
    try:
        return reader.read(text)
    except RecursionError:
        raise ValueError(f"the script is nested too deeply: {INSTEAD}") from None


class _Reader(Words):
    """Walks the statements, and keeps the commands."""

    def __init__(self, parse: Callable[[str], Any]):
        super().__init__(parse)
        self.commands: list[Command] = []
        self.notes: list[str] = []
        self.functions: dict[str, Any] = {}
        self.steps = 0
        self.depth = 0

    def read(self, text: str) -> Script:
        root = self.parse(text)
        if root.has_error:
            line = _first_error(root)
            self.notes.append(
                f"line {line} is no bash that can be read: what stands there may be missing"
            )
        self.notes += cut_short(text)
        # without word from outside, a script has no arguments
        self.statements(root.children, {"#": Word("0")})
        return Script(self.commands, self.notes)

    # Statements

    def statements(self, nodes: Sequence[Any], scope: Scope) -> None:
        for node in nodes:
            self.statement(node, scope)

    def statement(self, node: Any, scope: Scope) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ValueError(f"the script has too many steps to follow: {INSTEAD}")
        handler = getattr(self, f"on_{node.type}", None)
        if handler is not None:
            handler(node, scope)
        elif node.type in THROUGH:
            self.statements(node.children, scope)

    def on_variable_assignment(self, node: Any, scope: Scope) -> None:
        target = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        if target.type == "subscript":
            # an item of an array: the array is no longer known
            name = text_of(target).partition("[")[0]
            scope[name] = (unknown(name),)
            return
        name, adds = text_of(target), any(child.type == "+=" for child in node.children)
        new = self.value(value, scope)
        before = scope.get(name)
        if not adds or before is None:
            scope[name] = new
        elif isinstance(before, tuple):
            scope[name] = before + (new if isinstance(new, tuple) else (new,))
        else:
            scope[name] = bounded(before + as_word(new))

    def value(self, node: Any, scope: Scope) -> Word | tuple[Word, ...]:
        if node is None:
            return Word("")
        if node.type == "array":
            return tuple(self.words(node.named_children, scope))
        return self.whole(node, scope)

    def on_unset_command(self, node: Any, scope: Scope) -> None:
        for child in node.named_children:
            scope.pop(text_of(child), None)

    def on_command(self, node: Any, scope: Scope) -> None:
        own = [
            child
            for child in node.named_children
            if child.type in WORDS or child.type == "command_name"
        ]
        words = self.words(own, scope)
        if not words:
            return
        name = words[0].text
        line = node.start_point[0] + 1
        if name in self.functions:
            self.call(self.functions[name], words[1:], scope)
        elif name in ("source", "."):
            self.notes.append(
                f"line {line} reads another script, which was not read: {_said(words[1:])}"
            )
        elif name == "eval" or (
            name in SHELLS and len(words) > 2 and words[1].text in ("-c", "-lc")
        ):
            self.inner(words[1:] if name == "eval" else words[2:3], scope)
        elif name == "read":
            for word in words[1:]:
                scope[word.text] = unknown(word.text)
        elif name != "set":
            self.commands.append(Command(tuple(words), line))

    def call(self, body: Any, arguments: Sequence[Word], scope: Scope) -> None:
        """A function's body: it sees its arguments, and what it sets stays set."""
        if self.depth >= MAX_CALLS:
            return
        before = {name: scope[name] for name in scope if ARGUMENTS.fullmatch(name)}
        scope |= {str(i): argument for i, argument in enumerate(arguments, 1)}
        scope["#"] = Word(str(len(arguments)))
        scope["@"] = tuple(arguments)
        self.depth += 1
        self.statement(body, scope)
        self.depth -= 1
        for name in [name for name in scope if ARGUMENTS.fullmatch(name)]:
            del scope[name]
        scope |= before

    def inner(self, words: Sequence[Word], scope: Scope) -> None:
        """A script within a string."""
        text = " ".join(word.text for word in words)
        if self.depth < MAX_CALLS:
            self.depth += 1
            self.statements(self.parse(text).children, scope)
            self.depth -= 1

    def on_function_definition(self, node: Any, scope: Scope) -> None:
        self.functions[text_of(node.child_by_field_name("name"))] = (
            node.child_by_field_name("body")
        )

    # Branches

    def on_if_statement(self, node: Any, scope: Scope) -> None:
        branches: list[tuple[bool | None, list[Any]]] = []
        condition, body, opened = None, [], False
        conditions: list[Any] = []
        for child in node.children:
            if child.type == "elif_clause":
                inside = child.children
                then = next(i for i, each in enumerate(inside) if each.type == "then")
                branches.append(
                    (self.decided(inside[1:then], scope), inside[then + 1 :])
                )
            elif child.type == "else_clause":
                branches.append((True, child.children[1:]))
            elif child.type == "then":
                opened = True
                condition = self.decided(conditions, scope)
            elif child.type not in ("if", "fi"):
                (body if opened else conditions).append(child)
        self.choose([(condition, body), *branches], scope)

    def choose(
        self, branches: Sequence[tuple[bool | None, list[Any]]], scope: Scope
    ) -> None:
        """Follows the branch that is taken. Where that is open, all branches that may be
        are followed, and a variable that they set differently is open."""
        possible = []
        for taken, body in branches:
            if taken is False:
                continue
            possible.append(body)
            if taken:
                break
        else:
            possible.append([])
        if len(possible) == 1:
            self.statements(possible[0], scope)
            return
        ends = [dict(scope) for _ in possible]
        for body, end in zip(possible, ends, strict=True):
            self.statements(body, end)
        for name in {name for end in ends for name in end}:
            values = [end.get(name) for end in ends]
            if all(value == values[0] for value in values):
                scope[name] = values[0]  # pyright: ignore[reportArgumentType]
            else:
                scope[name] = unknown(name)

    def decided(self, nodes: Sequence[Any], scope: Scope) -> bool | None:
        """Whether a condition holds; None where only the machine knows."""
        tests = [node for node in nodes if node.is_named]
        if len(tests) != 1 or tests[0].type != "test_command":
            return None
        inside = tests[0].named_children
        return self.holds(inside[0], scope) if len(inside) == 1 else None

    def holds(self, node: Any, scope: Scope) -> bool | None:
        """A comparison of known words, and what is made of such by !, && and ||."""
        if node.type == "parenthesized_expression":
            return self.holds(node.named_children[0], scope)
        if node.type == "unary_expression":
            operator, operand = text_of(node.children[0]), node.children[-1]
            if operator == "!":
                inner = self.holds(operand, scope)
                return None if inner is None else not inner
            word = self.whole(operand, scope)
            # as with ${X:-d}: without word from outside, a variable is empty
            outside = word.open and all(name not in scope for name in word.open)
            if operator not in ("-z", "-n") or (word.open and not outside):
                return None
            empty = word.text == "" or bool(outside)
            return empty == (operator == "-z")
        if node.type != "binary_expression":
            return None
        left, operator, right = (
            node.children[0],
            text_of(node.children[1]),
            node.children[-1],
        )
        if operator in ("&&", "||"):
            return _both(self.holds(left, scope), self.holds(right, scope), operator)
        return _compared(self.whole(left, scope), operator, self.whole(right, scope))

    def on_case_statement(self, node: Any, scope: Scope) -> None:
        items = [child for child in node.named_children if child.type == "case_item"]
        self.choose([(None, item.named_children[1:]) for item in items], scope)

    def on_list(self, node: Any, scope: Scope) -> None:
        first, operator, second = (
            node.children[0],
            node.children[1].type,
            node.children[2],
        )
        taken = self.decided([first], scope)
        if first.type != "test_command":
            self.statement(first, scope)
            taken = True if operator == "&&" else None
        elif taken is not None and operator == "||":
            taken = not taken
        self.choose([(taken, [second])], scope)

    def on_while_statement(self, node: Any, scope: Scope) -> None:
        """A loop over the script's arguments is not run: what stands above it is what
        the script says itself."""
        inside = [child for child in node.named_children if child.type != "do_group"]
        if self.decided(inside, scope) is not False:
            self.statements(node.children, scope)
        elif "$#" in text_of(node):
            self.notes.append(
                f"line {node.start_point[0] + 1} reads the script's arguments, which "
                "are not known: its own values were read"
            )

    def on_for_statement(self, node: Any, scope: Scope) -> None:
        name = text_of(node.child_by_field_name("variable"))
        values = [
            child for child in node.named_children[1:] if child.type != "do_group"
        ]
        words = self.words(values, scope)
        if len(words) > 1:
            line = node.start_point[0] + 1
            self.notes.append(
                f"line {line} loops over {len(words)} values of {name}: the first one was read"
            )
        scope[name] = words[0] if words else unknown(name)
        self.statements(node.child_by_field_name("body").named_children, scope)


def _both(left: bool | None, right: bool | None, operator: str) -> bool | None:
    """&& and || of three values: one known side can be enough."""
    enough = operator == "||"
    if left is enough or right is enough:
        return enough
    return None if left is None or right is None else not enough


def _compared(left: Word, operator: str, right: Word) -> bool | None:
    """None where a word is open, the right side is a pattern, or the machine would have
    to be asked."""
    if left.open or right.open:
        return None
    if operator in ("=", "==", "!="):
        if re.search(r"[*?\[]", right.text):
            return None
        return (left.text == right.text) == (operator != "!=")
    numbers = re.fullmatch(r"-?\d{1,18}", left.text) and re.fullmatch(
        r"-?\d{1,18}", right.text
    )
    if operator in _COMPARED and numbers:
        return _COMPARED[operator](int(left.text), int(right.text))
    return None


_COMPARED: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
}


def _first_error(node: Any) -> int:
    todo = [node]
    while todo:
        here = todo.pop()
        if here.type == "ERROR" or here.is_missing:
            return here.start_point[0] + 1
        todo += [
            child
            for child in reversed(here.children)
            if child.has_error or child.is_missing
        ]
    return node.start_point[0] + 1


def _said(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)[:80]
