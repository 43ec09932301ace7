"""Countdown: reach a target with three numbers, each used once, by + - * and
parentheses."""

import random
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, permutations
from typing import final

from entrostat.lab.tasks.arithmetic import parse_expression
from entrostat.lab.tasks.base import (
    Problem,
    Split,
    Task,
    check_draw,
    check_pool,
    drawn_from,
    split_of,
)

NUMBERS = 3
LARGEST_NUMBER = 9
LARGEST_TARGET = 99
LEAST_ANSWERS = 4
"""Right answers among the expressions that `solve` draws from; problems with fewer are
left out."""


@final
@dataclass(frozen=True)
class Countdown(Task):
    """Prompts like "3,4,7>25=", answers like "(7*4)-3".

    Three numbers from 1 to 9, sorted, and a target from 1 to 99 with at least
    `LEAST_ANSWERS` right answers. The pool is every such problem, all equally likely.
    An answer is right if it is one expression of `tasks.arithmetic`, uses each number
    of the problem exactly as often as the problem lists it and no other, and has the
    target as its exact value. Nothing may surround it, not even a space: the model is
    trained on bare expressions, and a verifier that searches for an answer in a longer
    text pays for guessing.

    Problems have 4 to 24 right answers among the 108 expressions that `solve` draws
    from (3! orders, 2 shapes, 3 operators at each of 2 nodes); an expression with fewer
    or more parentheses is right too.
    """

    name = "countdown"
    alphabet = "0123456789+-*(),>="
    max_completion = 12

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        pool = _pool(split)
        check_pool(self.name, n, split, pool)
        return drawn_from(pool, n, random.Random(f"{self.name}/{split}/{seed}"))

    def score(self, problem: Problem, completion: str) -> float:
        try:
            expression = parse_expression(completion)
        except ValueError:
            return 0.0
        if expression.value != problem.data["target"]:
            return 0.0
        used = sorted(expression.numbers)
        return float(used == sorted(problem.data["numbers"]))

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One of the expression trees with the target as value, each equally likely,
        parenthesised at inner nodes.

        Trees are counted by the place of each number, so with equal numbers an
        expression counts once per order.
        """
        numbers = tuple(sorted(problem.data["numbers"]))
        return rng.choice(_solutions(numbers)[problem.data["target"]])


def _problem(numbers: tuple[int, ...], target: int) -> Problem:
    key = f"{','.join(map(str, numbers))}>{target}"
    data = {"numbers": list(numbers), "target": target}
    return Problem(prompt=f"{key}=", key=key, data=data)


@cache
def _pool(split: Split) -> tuple[Problem, ...]:
    """Every problem of a split, in a fixed order."""
    digits = range(1, LARGEST_NUMBER + 1)
    pool = []
    for numbers in combinations_with_replacement(digits, NUMBERS):
        for target in sorted(_solutions(numbers)):
            problem = _problem(numbers, target)
            if split_of(problem.key) == split:
                pool.append(problem)
    return tuple(pool)


@cache
def _solutions(numbers: tuple[int, ...]) -> dict[int, tuple[str, ...]]:
    """The expressions that reach each target from 1 to `LARGEST_TARGET`; targets with
    fewer than `LEAST_ANSWERS` are left out."""
    texts_of: dict[int, list[str]] = {}
    for order in permutations(numbers):
        for text, value in _trees(order):
            if 1 <= value <= LARGEST_TARGET:
                texts_of.setdefault(value, []).append(text)
    solutions = {}
    for target, texts in texts_of.items():
        if len(set(texts)) >= LEAST_ANSWERS:
            solutions[target] = tuple(texts)
    return solutions


def _trees(leaves: tuple[int, ...]) -> list[tuple[str, int]]:
    """Every expression tree with these leaves from left to right, as (text, value)."""
    if len(leaves) == 1:
        return [(str(leaves[0]), leaves[0])]
    trees = []
    for cut in range(1, len(leaves)):
        for left, a in _trees(leaves[:cut]):
            for right, b in _trees(leaves[cut:]):
                x, y = _inner(left), _inner(right)
                trees += [(f"{x}+{y}", a + b), (f"{x}-{y}", a - b), (f"{x}*{y}", a * b)]
    return trees


def _inner(text: str) -> str:
    """A part of an expression: parenthesised where it is more than one number."""
    return text if text.isdigit() else f"({text})"
