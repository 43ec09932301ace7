"""Countdown: reach a target with three numbers, each used once, by + - * and parentheses."""

import random
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, permutations
from typing import final

from entrostat.lab.tasks.arithmetic import parse_expression
from entrostat.lab.tasks.base import Problem, Split, Task, check_draw, split_of

NUMBERS = 3
LARGEST_NUMBER = 9
LARGEST_TARGET = 99
LEAST_ANSWERS = 4
"""Right answers among the expressions that `solve` draws from; problems with fewer are left out."""


@final
@dataclass(frozen=True)
class Countdown(Task):
    """Prompts like "3,4,7>25=", answers like "(7*4)-3".

    Three numbers from 1 to 9, sorted, and a target from 1 to 99 with at least `LEAST_ANSWERS` right answers. The pool
    is every such problem, all equally likely. An answer is right if it is one expression of `tasks.arithmetic`, uses
    each number of the problem exactly as often as the problem lists it and no other, and has the target as its exact
    value. Nothing may surround it, not even a space: the model is trained on bare expressions, and a verifier that
    searches for an answer in a longer text pays for guessing.

    Problems have 4 to 24 right answers among the 108 expressions that `solve` draws from (3! orders, 2 shapes, 3
    operators at each of 2 nodes); an expression with fewer or more parentheses is right too.
    """

    name = "countdown"
    alphabet = "0123456789+-*(),>="
    max_completion = 12

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        pool = _pool(split)
        if split == "test" and n > len(pool):
            raise ValueError(
                f"n is {n}, but countdown has {len(pool)} test problems; ask for at most that many"
            )
        rng = random.Random(f"{self.name}/{split}/{seed}")
        drawn: list[tuple[tuple[int, ...], int]] = []
        while len(drawn) < n:
            drawn += rng.sample(pool, len(pool))
        return [_problem(numbers, target) for numbers, target in drawn[:n]]

    def score(self, problem: Problem, completion: str) -> float:
        try:
            expression = parse_expression(completion)
        except ValueError:
            return 0.0
        right = expression.value == problem.data["target"]
        return float(
            right and sorted(expression.numbers) == sorted(problem.data["numbers"])
        )

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One of the expression trees with the target as value, each equally likely, parenthesised at inner nodes.

        Trees are counted by the place of each number, so with equal numbers an expression counts once per order.
        """
        return rng.choice(
            _solutions(tuple(sorted(problem.data["numbers"])))[problem.data["target"]]
        )


def _problem(numbers: tuple[int, ...], target: int) -> Problem:
    key = f"{','.join(map(str, numbers))}>{target}"
    return Problem(
        prompt=f"{key}=", key=key, data={"numbers": list(numbers), "target": target}
    )


@cache
def _pool(split: Split) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Every solvable (numbers, target) of a split, in a fixed order."""
    sets = combinations_with_replacement(range(1, LARGEST_NUMBER + 1), NUMBERS)
    every = (
        (numbers, target) for numbers in sets for target in sorted(_solutions(numbers))
    )
    return tuple(pair for pair in every if split_of(_problem(*pair).key) == split)


@cache
def _solutions(numbers: tuple[int, ...]) -> dict[int, tuple[str, ...]]:
    """The expressions that reach each target from 1 to `LARGEST_TARGET`."""
    reached: dict[int, list[str]] = {}
    for order in permutations(numbers):
        for text, value in _trees(order):
            if 1 <= value <= LARGEST_TARGET:
                reached.setdefault(value, []).append(text)
    return {
        target: tuple(texts)
        for target, texts in reached.items()
        if len(set(texts)) >= LEAST_ANSWERS
    }


def _trees(order: tuple[int, ...]) -> list[tuple[str, int]]:
    """Every expression tree with these leaves from left to right, as (text, value)."""
    if len(order) == 1:
        return [(str(order[0]), order[0])]
    trees = []
    for cut in range(1, len(order)):
        for left, a in _trees(order[:cut]):
            for right, b in _trees(order[cut:]):
                left_text = f"({left})" if cut > 1 else left
                right_text = f"({right})" if len(order) - cut > 1 else right
                for operator, value in (("+", a + b), ("-", a - b), ("*", a * b)):
                    trees.append((f"{left_text}{operator}{right_text}", value))
    return trees
