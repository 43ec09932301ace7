"""reasoning-gym: every allowed task takes its own answers for right and nothing else, and none evaluates a text."""

import inspect
import itertools
import json
import re

import pytest
from reasoning_gym.factory import DATASETS

from entrostat.data.gym import TASKS, gym_items, parse_tasks
from entrostat.verify import SPELLINGS, VERIFIERS

NINES = "9" * 400
GARBAGE = [
    *("", "garbage", "9**9**9", "nan", "{}", "[{}]", "9" * 20, NINES, f"{NINES}:{NINES}", f"1 days, {NINES}:00"),
    *('{"a":' * 3000 + "1" + "}" * 3000, "[" * 3000),
]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_round_trips(task):
    items = list(itertools.islice(gym_items([task], seed=5), 3))
    assert items == list(itertools.islice(gym_items([task], seed=5), 3))
    for item in items:
        right = SPELLINGS["gym"](item.answer)
        assert VERIFIERS["gym"](item.answer, f"<answer>0</answer> no, {right}.") == 1.0
        for wrong in ("", "garbage", right[:-1], *(f"<answer>{text}</answer>" for text in GARBAGE)):
            assert VERIFIERS["gym"](item.answer, wrong) == 0.0
    assert [json.loads(item.answer) for item in items] == [[task, 5, number] for number in range(3)]


@pytest.mark.parametrize("task", TASKS)
def test_no_scorer_evaluates_what_a_model_wrote(task):
    source = inspect.getsource(DATASETS[task][0].score_answer)
    found = re.findall(r"\b(?:eval|exec|parse_expr|sympify)\(([^)]*)\)", source)
    assert found in ([], ['entry["answer"]'])


def test_tasks_take_turns():
    items = itertools.islice(gym_items(["gcd", "lcm"], seed=1), 4)
    assert [json.loads(item.answer) for item in items] == [["gcd", 1, 0], ["lcm", 1, 0], ["gcd", 1, 1], ["lcm", 1, 1]]


@pytest.mark.parametrize("names", ["countdown", "rubiks_cube", "gcd,", "", "n_queens", "codeio"])
def test_tasks_that_are_not_allowed_are_refused(names):
    with pytest.raises(ValueError, match="has no task"):
        parse_tasks(f"gym:{names}")
    with pytest.raises(ValueError, match="names a task twice"):
        parse_tasks("gym:gcd,gcd")
