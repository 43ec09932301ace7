"""The words of a bash script: quotes, variables, defaults, arrays and arithmetic, with what
is not known left open.

Splitting is bash's: the value of an unquoted variable is split at blanks, that of a quoted
one is not, and "${X[@]}" gives the items of an array as words of their own.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

MAX_LENGTH = 10_000
"""Characters of a word at most: X="$X$X" doubles it each time."""
INSTEAD = "give its settings as KEY=VALUE words"


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a command, or the value of a variable."""

    text: str
    open: tuple[str, ...] = ()
    """What in it is not known, such as the name of a variable that is set outside."""

    def __add__(self, other: "Word") -> "Word":
        return Word(self.text + other.text, self.open + other.open)


class _Field(NamedTuple):
    """A part of a word: what is not quoted is split at blanks."""

    word: Word
    split: bool = False
    items: tuple[Word, ...] | None = None
    """Of an array in full, "${X[@]}": words of their own."""


Scope = dict[str, Word | tuple[Word, ...]]


class Words:
    """Words of nodes of a syntax tree, under the variables that a script has set so far.

    `parse` makes a tree of text: what stands inside of ${X:-...} is parsed by itself.
    """

    def __init__(self, parse: Callable[[str], Any]):
        self.parse = parse

    def words(
        self, nodes: Sequence[Any], scope: Scope, *, empty: bool = False
    ) -> list[Word]:
        """The words that these nodes become: an unquoted blank splits, an array in full
        gives its items."""
        words: list[Word] = []
        for node in nodes:
            if node.type == "comment":
                continue
            fields = list(self.fields(node, scope))
            words += _joined(fields, empty=empty)
        return words

    def whole(self, node: Any, scope: Scope) -> Word:
        """One word, whatever blanks there are in it."""
        word = Word("")
        for field in self.fields(node, scope):
            word += field.word if field.items is None else as_word(field.items)
        return bounded(word)

    def fields(self, node: Any, scope: Scope) -> Iterator[_Field]:
        kind = node.type
        if kind in ("command_name", "concatenation"):
            for child in node.children:
                yield from self.fields(child, scope)
        elif kind == "string":
            yield from self.quoted(node, scope)
        elif kind == "raw_string":
            yield _Field(Word(text_of(node)[1:-1]))
        elif kind == "ansi_c_string":
            yield _Field(Word(text_of(node)[2:-1]))
        elif kind in ("simple_expansion", "expansion"):
            yield from self.expanded(node, scope)
        elif kind == "arithmetic_expansion":
            yield _Field(self.arithmetic(node, scope))
        elif kind in ("command_substitution", "process_substitution"):
            yield _Field(unknown(" ".join(text_of(node).split())[:60]))
        else:
            # a backslash keeps the next character, and at the end of a line takes the line end away
            yield _Field(Word(re.sub(r"\\\n\s*|\\(.)", r"\1", text_of(node))))

    def quoted(self, node: Any, scope: Scope) -> Iterator[_Field]:
        """A string in double quotes: nothing in it is split. Text between its parts is
        taken from the source."""
        source, at = node.text, 1
        for child in node.named_children:
            start = child.start_byte - node.start_byte
            if start > at:
                yield _Field(Word(_unescaped(source[at:start].decode())))
            if child.type == "string_content":
                yield _Field(Word(_unescaped(text_of(child))))
            else:
                for field in self.fields(child, scope):
                    yield field._replace(split=False)
            at = child.end_byte - node.start_byte
        if at < len(source) - 1:
            yield _Field(Word(_unescaped(source[at:-1].decode())))
        if not node.named_children and len(source) == 2:
            yield _Field(Word(""))

    def expanded(self, node: Any, scope: Scope) -> Iterator[_Field]:
        """$X and ${X...}: its value, its default, or itself as an open part."""
        text = text_of(node)
        match = re.match(r"\$\{?([#!]?)([A-Za-z_]\w*|[@*#?$!0-9])(\[[^\]]*\])?", text)
        if match is None:
            yield _Field(unknown(text))
            return
        sign, name, index = match.groups()
        rest = text[match.end() :].removesuffix("}") if text.startswith("${") else ""
        value = scope.get(name)
        if sign:
            yield _Field(unknown(text))
        elif index is not None or name in ("@", "*"):
            yield self.items(value, name, index or "[@]")
        elif rest and rest[0] in ":-=?+" and not re.match(r":\s?\d", rest):
            yield from self.defaulted(value, name, rest, scope)
        elif value is None:
            yield _Field(unknown(name), split=True)
        elif rest:
            yield _Field(_cut(as_word(value), rest, name))
        else:
            yield _Field(
                value[0] if isinstance(value, tuple) and value else as_word(value),
                split=True,
            )

    def items(self, value: Any, name: str, index: str) -> _Field:
        if value is None:
            # without arguments of its own a script has none
            if name in ("@", "*"):
                return _Field(Word(""), items=())
            return _Field(unknown(name))
        items = value if isinstance(value, tuple) else (value,)
        if index in ("[@]", "[*]"):
            return _Field(Word(""), items=items)
        number = index[1:-1]
        if number.isdecimal() and int(number) < len(items):
            return _Field(items[int(number)])
        return _Field(unknown(name))

    def defaulted(
        self, value: Any, name: str, rest: str, scope: Scope
    ) -> Iterator[_Field]:
        """${X:-d}, ${X-d}, ${X:=d}, ${X:+d}, ${X:?d}.

        A variable that the script does not set may be set outside. The default is what
        the script itself says, and is taken.
        """
        operator = rest[: 2 if rest[0] == ":" else 1]
        known = Word("") if value is None else as_word(value)
        unset = value is None or (operator[0] == ":" and known.text == "")
        default = self.default(rest[len(operator) :], scope)
        if operator[-1] == "+":
            yield _Field(Word("") if unset else default, split=True)
        elif not unset:
            yield _Field(known, split=True)
        elif operator[-1] == "?":
            yield _Field(unknown(name))
        else:
            if operator[-1] == "=":
                scope[name] = default
            yield _Field(default, split=True)

    def default(self, text: str, scope: Scope) -> Word:
        """What stands behind :- and the like. Parsed by itself: within ${...} the grammar
        reads less."""
        nodes = self.parse(f"y {text}").children
        command = next((node for node in nodes if node.type == "command"), None)
        if command is None or command.has_error:
            if "$" in text or "`" in text:
                return unknown(text)
            return Word(re.sub(r"[\"']", "", text))
        return as_word(tuple(self.words(command.named_children[1:], scope, empty=True)))

    # Arithmetic

    def arithmetic(self, node: Any, scope: Scope) -> Word:
        """$(( ... )) over integers."""
        text = re.sub(r"^\$\(\(|\)\)$", "", text_of(node))
        try:
            return Word(str(self.number(node.named_children[0], scope)))
        except (ValueError, IndexError, ZeroDivisionError, OverflowError):
            return unknown(text.strip()[:60])

    def number(self, node: Any, scope: Scope) -> int:
        if node.type == "parenthesized_expression":
            return self.number(node.named_children[0], scope)
        if node.type == "unary_expression" and text_of(node)[0] in "+-":
            value = self.number(node.named_children[-1], scope)
            return -value if text_of(node)[0] == "-" else value
        if node.type == "binary_expression":
            left, right = (self.number(child, scope) for child in node.named_children)
            return _ARITHMETIC[text_of(node.children[1])](left, right)
        if node.type in ("variable_name", "word") and not text_of(node).isdecimal():
            word = (
                as_word(scope[text_of(node)]) if text_of(node) in scope else unknown("")
            )
        else:
            word = self.whole(node, scope)
        if word.open:
            raise ValueError
        return int(word.text or "0")


def _divided(a: int, b: int) -> int:
    """Bash rounds towards zero."""
    return int(a / b) if abs(a) < 2**52 else a // b


def _power(a: int, b: int) -> int:
    if not 0 <= b <= 64 or abs(a) > 2**16:
        raise ValueError
    return a**b


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    "%": lambda a, b: a - b * _divided(a, b),
    "**": _power,
}


def text_of(node: Any) -> str:
    return node.text.decode()


def unknown(name: str) -> Word:
    return Word(name if name.startswith("$") else "${" + name + "}", (name,))


def as_word(value: Word | tuple[Word, ...]) -> Word:
    if isinstance(value, Word):
        return value
    whole = Word("")
    for i, item in enumerate(value):
        whole += Word(" ") + item if i else item
    return whole


def bounded(word: Word) -> Word:
    if len(word.text) > MAX_LENGTH:
        raise ValueError(f"a variable of the script is too long: {INSTEAD}")
    return word


def _unescaped(text: str) -> str:
    return re.sub(r"\\\n|\\([\"\\$`])", lambda match: match[1] or "", text)


def _joined(fields: Sequence[_Field], *, empty: bool) -> list[Word]:
    """The words of a node's parts, which stand side by side without a blank."""
    words: list[Word] = [Word("")]
    for field in fields:
        if field.items is not None:
            pieces = list(field.items) or [Word("")]
        elif field.split:
            pieces = list(_at_blanks(field.word))
        else:
            pieces = [field.word]
        words[-1] = bounded(words[-1] + pieces[0])
        words += pieces[1:]
    # an expansion that is empty and not quoted leaves no word; an empty string in quotes leaves one
    quoted = any(field.items is None and not field.split for field in fields)
    return [word for word in words if word.text or empty or quoted]


def _cut(word: Word, rest: str, name: str) -> Word:
    """${X%suffix}, ${X##prefix}, ${X/a/b}, ${X,,} and the like."""
    if word.open:
        return word
    if rest in (",,", "^^"):
        return Word(word.text.lower() if rest == ",," else word.text.upper())
    if rest == "##*/":
        return Word(word.text.rpartition("/")[2])
    if rest == "%/*":
        return Word(word.text.rpartition("/")[0])
    if rest.startswith("%") and not re.search(r"[*?\[$]", rest):
        return Word(word.text.removesuffix(rest.lstrip("%")))
    return unknown("${" + name + rest + "}")


def _at_blanks(word: Word) -> Iterator[Word]:
    """What a word becomes that is split at its blanks. Those within an open part, such
    as $(a command), are not its own."""
    text = word.text
    for name in word.open:
        part = unknown(name).text
        text = text.replace(part, part.replace(" ", "\0"))
    for piece in re.split(r"\s+", text):
        own = piece.replace("\0", " ")
        yield Word(own, tuple(name for name in word.open if unknown(name).text in own))


def cut_short(text: str) -> list[str]:
    """A backslash with something behind it does not continue the line."""
    notes = []
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"^[^#]*\s\\[ \t]+(#.*)?$", line):
            notes.append(
                f"line {number} ends its command, as something stands behind the \\: "
                "bash does not give what follows to it"
            )
    return notes
