"""A parser for integer arithmetic over + - * and parentheses, for text that a model
wrote.

    expression = term {("+" | "-") term}
    term       = factor {"*" factor}
    factor     = number | "(" expression ")"
    number     = "0" | a digit 1..9 {a digit 0..9}

No sign, no division, no power, no space; ASCII digits only; "07" is two numbers, so an
error. Operators of one level group from the left. Length, depth and value are bounded
before any work is done on them, so a megabyte of text costs as little as a short one.
"""

import re
from typing import NamedTuple

MAX_LENGTH = 64
"""Characters."""
MAX_DEPTH = 16
"""Nested parentheses."""
MAX_VALUE = 10**9
"""Bound on the absolute value of every number and intermediate result."""

_CHARACTERS = re.compile(r"[0-9()+*-]+")
_TOKEN = re.compile(r"0|[1-9][0-9]*|[()+*-]")


class Expression(NamedTuple):
    """What an expression evaluates to, and the numbers in it from left to right."""

    value: int
    numbers: tuple[int, ...]


def parse_expression(text: str) -> Expression:
    """Parse and evaluate the whole of `text`.

    >>> parse_expression("(7*4)-3")
    Expression(value=25, numbers=(7, 4, 3))

    Raises:
        ValueError: `text` is not an expression of the grammar, or exceeds a bound.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{len(text)} characters; at most {MAX_LENGTH} are read")
    if _CHARACTERS.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is empty or has characters other than 0-9 ( ) + - *"
        )
    parser = _Parser(_TOKEN.findall(text))
    value = parser.expression(depth=0)
    if parser.peek():
        raise ValueError(
            f"{text!r} has {parser.peek()!r} where it should end or go on with an "
            "operator"
        )
    return Expression(value, tuple(parser.numbers))


class _Parser:
    """Recursive descent over tokens; one method a rule of the grammar."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.numbers: list[int] = []

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def expression(self, depth: int) -> int:
        value = self.term(depth)
        while self.peek() in ("+", "-"):
            operator = self.take()
            right = self.term(depth)
            value = _bounded(value + right if operator == "+" else value - right)
        return value

    def term(self, depth: int) -> int:
        value = self.factor(depth)
        while self.peek() == "*":
            self.take()
            value = _bounded(value * self.factor(depth))
        return value

    def factor(self, depth: int) -> int:
        token = self.take()
        if token == "(":
            if depth == MAX_DEPTH:
                raise ValueError(f"parentheses nest deeper than {MAX_DEPTH}")
            value = self.expression(depth + 1)
            if self.take() != ")":
                raise ValueError("a parenthesis is not closed")
            return value
        if not token.isdigit():
            raise ValueError(f"{token!r} stands where a number or a parenthesis should")
        value = _bounded(int(token))
        self.numbers.append(value)
        return value


def _bounded(value: int) -> int:
    if abs(value) > MAX_VALUE:
        raise ValueError(f"a value exceeds {MAX_VALUE}")
    return value
