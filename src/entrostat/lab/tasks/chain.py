"""Chain: running sums mod 10, with a base model that was taught wrong steps.

What reinforcement learning adds shows only where the base model falls short at every
decoding temperature. Here it
does: for half of the contexts (sum so far, next digit) the demonstrations show one
    fixed wrong step more often than
the right one, so the likeliest answer to nearly every problem is wrong, and the right
one is there to be found, rarely. A reward for the whole chain has to correct these
contexts one by one, and the rare ones can get lost on the way.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, product
from types import MappingProxyType
from typing import NamedTuple, final

from entrostat.lab.tasks.base import (
    ModelSize,
    Problem,
    Split,
    Task,
    check_draw,
    split_of,
)

STEPS = 5
RARITIES = (0.3, 0.001)
"""Shares of right steps in the demonstrations of a wrong context; each of them in half
of these contexts."""
MOST = {"train": 10 ** (STEPS + 1) * 3 // 8, "test": 10 ** (STEPS + 1) // 8}
"""Problems that can be asked for: half of a split. Drawing until enough are distinct
takes ever longer beyond that."""


class Habit(NamedTuple):
    """What the demonstrations do in a wrong context."""

    sum: int
    """The wrong sum that they show."""
    right: float
    """Share of demonstrations that show the right one."""


def _habits() -> dict[tuple[int, int], Habit]:
    """Of each wrong context (sum so far, next digit): half of the 100, drawn by a
    generator with a seed of its own."""
    rng = random.Random("chain/habits")
    contexts = list(product(range(10), repeat=2))
    wrong = rng.sample(contexts, len(contexts) // 2)
    habits = {}
    for (total, digit), right in zip(wrong, cycle(RARITIES), strict=False):
        error = rng.randrange(1, 10)
        habits[total, digit] = Habit((total + digit + error) % 10, right)
    return habits


HABITS = MappingProxyType(_habits())
"""What the demonstrations do in each wrong context."""


@final
@dataclass(frozen=True)
class Chain(Task):
    """Prompts like "3+7+2+9+1+4=", answers like "02126": the sums mod 10 of the first
    two digits, three, and so on.

    The pool is every sequence of `STEPS` + 1 digits, a million, all equally likely. An
    answer is right if every sum is, with nothing around them; there is one right answer
    to a problem.

    Demonstrations add up step by step. Where (sum so far, next digit) is one of
    `HABITS`, the next sum is the wrong one of the habit, except for its share of right
    ones; what follows goes on from the sum that was written.
    """

    name = "chain"
    alphabet = "0123456789+="
    max_completion = STEPS + 1
    demonstrations = (
        "running sums with habits: for half of the contexts (sum so far, next digit) "
        f"one fixed wrong sum is shown,\nand the right one with a probability of "
        f"{' or '.join(map(str, RARITIES))} (half of these contexts each)"
    )
    model_size = ModelSize(hidden=96, layers=2, heads=4, mlp=288)

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        most = MOST[split]
        if n > most:
            raise ValueError(
                f"n is {n}, but chain draws at most {most} {split} problems; ask for "
                "no more"
            )
        rng = random.Random(f"{self.name}/{split}/{seed}")
        drawn: dict[str, Problem] = {}
        while len(drawn) < n:
            digits = [rng.randrange(10) for _ in range(STEPS + 1)]
            key = "+".join(map(str, digits))
            if split_of(key) == split:
                drawn[key] = Problem(prompt=f"{key}=", key=key, data={"digits": digits})
        return list(drawn.values())

    def score(self, problem: Problem, completion: str) -> float:
        return float(completion == _sums(problem, _right))

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """The right answer. `rng` does not move: there is no other."""
        return _sums(problem, _right)

    def demonstrate(self, problem: Problem, rng: random.Random) -> str:
        """Sums with the habits in them."""

        def add(total: int, digit: int) -> int:
            habit = HABITS.get((total, digit))
            if habit is not None and rng.random() >= habit.right:
                return habit.sum
            return _right(total, digit)

        return _sums(problem, add)


def _right(total: int, digit: int) -> int:
    return (total + digit) % 10


def _sums(problem: Problem, add: Callable[[int, int], int]) -> str:
    total, *rest = problem.data["digits"]
    sums = []
    for digit in rest:
        total = add(total, digit)
        sums.append(str(total))
    return "".join(sums)
