"""Times: written multiplication, with a base model that learned a part of the times
table wrong.

What reinforcement learning adds shows only where the base model falls short at every
decoding temperature. Here it does, as a pupil would: the demonstrations work in the
right way with some wrong facts. A fact of the table that was learned wrong is recalled
as the product next to it (7*8 as 7*9) more often than as it is. A reward for the whole
working has to correct these facts one by one, and the rare ones can get lost on the
way.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType
from typing import NamedTuple, final

from entrostat.lab.tasks.base import (
    ModelSize,
    Problem,
    Split,
    Task,
    check_draw,
    check_pool,
    drawn_from,
    split_of,
)

COLUMNS = 3
"""Digits of the number that is multiplied."""
FACTORS = range(2, 10)
"""Every digit, and the number it is multiplied by: what times 0 and 1 is needs no
table."""
RARITIES = (0.3, 0.1, 0.002)
"""Shares of right recalls of a wrong fact in the demonstrations: each multiplier has
one wrong fact of each share."""


class Fact(NamedTuple):
    """What the demonstrations recall for a fact that was learned wrong."""

    product: int
    """The wrong product."""
    right: float
    """Share of recalls that give the right one."""


def _wrong_facts() -> dict[tuple[int, int], Fact]:
    """Of each wrong (digit, multiplier), drawn by a generator with a seed of its own.

    As many for one multiplier as for another: a row without any would be solved before
    any training.
    """
    rng = random.Random("times/facts")
    facts = {}
    for multiplier in FACTORS:
        digits = rng.sample(FACTORS, len(RARITIES))
        for digit, right in zip(digits, RARITIES, strict=True):
            neighbour = digit + rng.choice((-1, 1))
            facts[digit, multiplier] = Fact(neighbour * multiplier, right)
    return facts


FACTS = MappingProxyType(_wrong_facts())
"""The facts that were learned wrong."""


@final
@dataclass(frozen=True)
class Times(Task):
    """Prompts like "942*7=", answers like "142965": 2*7 is 14, 4*7 and the carried 1 is
    29, 9*7 and 2 is 65.

    The pool is every number of `COLUMNS` digits from 2 to 9 with a multiplier from 2 to
    9, all equally likely. The answer is the working: from the last digit to the first,
    the digit times the multiplier plus what is carried, as two digits, of which the
    first is carried on. It is right if all of it is, with nothing around it.

    Demonstrations recall the wrong product for a fact of `FACTS`, except for its share
    of right ones, and go on from what they wrote.
    """

    name = "times"
    alphabet = "0123456789*="
    max_completion = 2 * COLUMNS + 1
    demonstrations = (
        f"workings with {len(FACTS)} of the {len(FACTORS) ** 2} products of 2 to 9 "
        f"learned wrong, {len(RARITIES)} of\neach multiplier: one fixed wrong product "
        f"is recalled, and the right one with a probability "
        f"of\n{', '.join(map(str, RARITIES))} (one of the three each)"
    )
    model_size = ModelSize(hidden=96, layers=2, heads=4, mlp=288)

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        pool = _pool(split)
        check_pool(self.name, n, split, pool)
        return drawn_from(pool, n, random.Random(f"{self.name}/{split}/{seed}"))

    def score(self, problem: Problem, completion: str) -> float:
        return float(completion == _working(problem, _right))

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """The right working. `rng` does not move: there is no other."""
        return _working(problem, _right)

    def demonstrate(self, problem: Problem, rng: random.Random) -> str:
        """The working with the wrong facts in it."""

        def recall(digit: int, multiplier: int) -> int:
            fact = FACTS.get((digit, multiplier))
            if fact is not None and rng.random() >= fact.right:
                return fact.product
            return _right(digit, multiplier)

        return _working(problem, recall)


@cache
def _pool(split: Split) -> tuple[Problem, ...]:
    """Every problem of a split, in a fixed order."""
    pool = []
    for *digits, multiplier in product(FACTORS, repeat=COLUMNS + 1):
        key = f"{''.join(map(str, digits))}*{multiplier}"
        if split_of(key) == split:
            data = {"digits": digits, "multiplier": multiplier}
            pool.append(Problem(prompt=f"{key}=", key=key, data=data))
    return tuple(pool)


def _right(digit: int, multiplier: int) -> int:
    return digit * multiplier


def _working(problem: Problem, times: Callable[[int, int], int]) -> str:
    multiplier = problem.data["multiplier"]
    carried = 0
    columns = []
    for digit in reversed(problem.data["digits"]):
        column = times(digit, multiplier) + carried
        columns.append(f"{column:02d}")
        carried = column // 10
    return "".join(columns)
