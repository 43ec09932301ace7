"""What the warm start shows: right answers, or, in tasks with headroom, wrong steps at the stated shares."""

import hashlib
import random
from collections import Counter
from itertools import product

import pytest

from entrostat.lab.tasks import TASKS
from entrostat.lab.tasks import chain as chain_module
from entrostat.lab.tasks import times as times_module

CHAIN, TIMES = TASKS["chain"], TASKS["times"]


@pytest.mark.parametrize("name", ["countdown", "path"])
def test_demonstrations_are_right_answers_where_nothing_else_is_said(name):
    task = TASKS[name]
    for problem in task.problems(50, split="train", seed=0):
        assert task.demonstrate(problem, random.Random(1)) == task.solve(problem, random.Random(1))


@pytest.mark.parametrize("task", [CHAIN, TIMES], ids=["chain", "times"])
def test_demonstrations_are_mostly_wrong_and_follow_the_generator_alone(task):
    problems = task.problems(2000, split="train", seed=0)
    first, again = random.Random(3), random.Random(3)
    shown = [task.demonstrate(problem, first) for problem in problems]
    assert shown == [task.demonstrate(problem, again) for problem in problems]
    right = sum(task.score(problem, answer) for problem, answer in zip(problems, shown, strict=True))
    assert 0.02 < right / len(problems) < 0.4


def test_half_of_the_contexts_of_a_chain_have_a_habit():
    habits = chain_module.HABITS
    assert len(habits) == 50
    assert set(habits) <= set(product(range(10), repeat=2))
    assert all(habit.sum in range(10) and habit.sum != sum(context) % 10 for context, habit in habits.items())
    counts = Counter(habit.right for habit in habits.values())
    assert set(counts) == set(chain_module.RARITIES)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_wrong_facts_are_products_next_to_the_right_ones():
    facts = times_module.FACTS
    assert set(facts) <= set(product(range(2, 10), repeat=2))
    assert all(abs(fact.product - digit * times) == times for (digit, times), fact in facts.items())
    for multiplier in range(2, 10):
        shares = [fact.right for (_, times), fact in facts.items() if times == multiplier]
        assert sorted(shares) == sorted(times_module.RARITIES)


def fingerprint(table):
    return hashlib.sha256(repr(sorted((key, tuple(value)) for key, value in table.items())).encode()).hexdigest()[:16]


def test_tables_are_the_ones_that_the_shipped_models_learned():
    """Pinned: on another platform or version of Python nothing may move."""
    assert fingerprint(chain_module.HABITS) == "f5c5afed28956050"
    assert fingerprint(times_module.FACTS) == "db61d9e5420e40c2"


def steps_of_chain(problem, answer):
    """Each (context, what is shown, right or not, wrong as the habit says)."""
    total, *rest = problem.data["digits"]
    for digit, shown in zip(rest, map(int, answer), strict=True):
        yield (total, digit), shown == (total + digit) % 10, shown
        total = shown


def steps_of_times(problem, answer):
    """The same of a working: what a column shows less what is carried is the product that was recalled."""
    multiplier, carried = problem.data["multiplier"], 0
    columns = [int(answer[i : i + 2]) for i in range(0, len(answer), 2)]
    for digit, column in zip(reversed(problem.data["digits"]), columns, strict=True):
        recalled = column - carried
        yield (digit, multiplier), recalled == digit * multiplier, recalled
        carried = column // 10


@pytest.mark.parametrize(
    ("task", "steps_of", "table"),
    [(CHAIN, steps_of_chain, chain_module.HABITS), (TIMES, steps_of_times, times_module.FACTS)],
    ids=["chain", "times"],
)
def test_shares_of_right_steps_are_the_stated_ones(task, steps_of, table):
    """Every wrong step is the one of the table; a share's error is under 4.5 standard errors."""
    rng = random.Random(0)
    seen, right = Counter(), Counter()
    for problem in task.problems(8_000, split="train", seed=0):
        for context, is_right, shown in steps_of(problem, task.demonstrate(problem, rng)):
            wrong = table.get(context)
            assert is_right or (wrong is not None and shown == wrong[0])
            share = wrong.right if wrong is not None else 1.0
            seen[share] += 1
            right[share] += is_right
    assert right[1.0] == seen[1.0]
    shares = set(seen) - {1.0}
    assert shares == {wrong.right for wrong in table.values()}
    for share in shares:
        error = (share * (1 - share) / seen[share]) ** 0.5
        assert abs(right[share] / seen[share] - share) < 4.5 * error


def test_chain_refuses_more_than_it_can_draw():
    for split, most in (("train", 375_000), ("test", 125_000)):
        with pytest.raises(ValueError, match=f"n is {most + 1}, but chain draws at most {most} {split} problems"):
            CHAIN.problems(most + 1, split=split, seed=0)


def test_times_draws_each_train_problem_once_before_any_again_and_refuses_more_test_problems_than_there_are():
    train, test = (len(times_module._pool(split)) for split in ("train", "test"))
    assert train + test == 8**4
    keys = [problem.key for problem in TIMES.problems(train + 100, split="train", seed=0)]
    assert len(set(keys[:train])) == train
    assert len(set(keys[train:])) == 100
    with pytest.raises(ValueError, match=f"n is {test + 1}, but times has {test} test problems"):
        TIMES.problems(test + 1, split="test", seed=0)
