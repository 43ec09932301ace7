"""Laws that every task keeps: deterministic disjoint splits, right answers that score, room to answer."""

import json
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.lab.model import CONTEXT
from entrostat.lab.tasks import TASKS, Problem, make_task, split_of
from entrostat.lab.tasks import countdown as countdown_module

SEEDS = st.integers(min_value=0, max_value=2**31)
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
every_split = pytest.mark.parametrize("split", ["train", "test"])


def test_registry_names_each_task():
    assert set(TASKS) == {"countdown", "path", "chain", "times"}
    assert all(make_task(name) is task and task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize(("name", "near"), [("countdwn", "did you mean countdown?"), ("paths", "did you mean path?")])
def test_unknown_task_names_the_near_ones(name, near):
    with pytest.raises(ValueError, match="unknown task") as caught:
        make_task(name)
    assert str(caught.value) == f"unknown task {name!r}: {near}"


def test_unknown_task_far_from_all_names_all():
    with pytest.raises(ValueError, match=r"unknown task 'zzz': known: countdown, path, chain, times$"):
        make_task("zzz")


@every_task
@every_split
@given(seed=SEEDS)
def test_solutions_score_one(task, split, seed):
    rng = random.Random(seed)
    for problem in task.problems(4, split=split, seed=seed):
        assert task.score(problem, task.solve(problem, rng)) == 1.0


@every_task
@given(seed=SEEDS, n=st.integers(1, 12), more=st.integers(0, 12))
def test_same_seed_same_problems_and_a_prefix_for_fewer(task, seed, n, more):
    assert task.problems(n, split="train", seed=seed) == task.problems(n + more, split="train", seed=seed)[:n]


@every_task
@every_split
def test_seeds_and_splits_give_different_problems(task, split):
    zero = {p.key for p in task.problems(60, split=split, seed=0)}
    assert zero != {p.key for p in task.problems(60, split=split, seed=1)}
    other = "test" if split == "train" else "train"
    assert zero.isdisjoint(p.key for p in task.problems(60, split=other, seed=0))


@every_task
def test_splits_share_no_problem_and_drawn_ones_are_distinct(task):
    train = [p.key for p in task.problems(700, split="train", seed=3)]
    test = [p.key for p in task.problems(256, split="test", seed=3)]
    assert len(set(train)) == 700
    assert len(set(test)) == 256
    assert set(train).isdisjoint(test)
    assert {split_of(key) for key in train} == {"train"}
    assert {split_of(key) for key in test} == {"test"}


@every_task
def test_other_processes_draw_the_same_and_leave_the_global_generator(task):
    """Hash randomisation, import order and global seeds don't matter."""
    code = (
        "import random; from entrostat.lab.tasks import make_task as m; random.seed(5); s = random.getstate();"
        f"t = m({task.name!r}); p = t.problems(20, split='train', seed=9); r = random.Random(1);"
        "print([(q.prompt, q.key, t.solve(q, r)) for q in p]); assert random.getstate() == s"
    )
    env = {"PYTHONHASHSEED": "77"}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    rng = random.Random(1)
    here = [(p.prompt, p.key, task.solve(p, rng)) for p in task.problems(20, split="train", seed=9)]
    assert there.strip() == str(here)


@every_task
def test_problems_survive_json(task):
    for problem in task.problems(30, split="test", seed=0):
        loaded = Problem(*json.loads(json.dumps(problem)))
        assert loaded == problem
        assert task.score(loaded, task.solve(loaded, random.Random(0))) == 1.0


@every_task
def test_problems_share_one_schema(task):
    def schema(value):
        if isinstance(value, dict):
            return {key: schema(inner) for key, inner in value.items()}
        return [schema(value[0])] if isinstance(value, list) else type(value)

    schemas = [schema(problem.data) for problem in task.problems(50, split="train", seed=0)]
    assert all(one == schemas[0] for one in schemas)


@every_task
def test_texts_stay_in_the_alphabet_and_in_the_context(task):
    rng = random.Random(0)
    alphabet = set(task.alphabet)
    assert len(alphabet) == len(task.alphabet)
    for problem in task.problems(1000, split="train", seed=1):
        for answer in (task.solve(problem, rng), task.demonstrate(problem, rng)):
            assert alphabet.issuperset(problem.prompt + answer)
            assert len(answer) + 1 <= task.max_completion
        assert len(problem.prompt) + task.max_completion <= CONTEXT


@pytest.mark.parametrize("name", ["countdown", "path"])
def test_every_problem_has_several_right_answers_within_reach(name):
    task = TASKS[name]
    rng = random.Random(0)
    for problem in task.problems(20, split="test", seed=4):
        drawn = Counter(task.solve(problem, rng) for _ in range(300))
        assert len(drawn) > 1


@every_task
@pytest.mark.parametrize("n", [0, -1])
def test_too_few_problems_is_an_error(task, n):
    with pytest.raises(ValueError, match=f"n is {n}; ask for at least 1"):
        task.problems(n, split="train", seed=0)


def test_solver_draws_countdown_trees_evenly():
    """Of 2, 3, 4 > 24 with 3! orders and 2 shapes every tree of products alone is right: 12, each as likely."""
    task = TASKS["countdown"]
    problem = Problem("2,3,4>24=", "2,3,4>24", {"numbers": [2, 3, 4], "target": 24})
    rng = random.Random(0)
    drawn = Counter(task.solve(problem, rng) for _ in range(12_000))
    assert len(drawn) == 12
    assert all(answer.count("*") == 2 for answer in drawn)
    # chi-square with 11 degrees of freedom: above 31.3 once in a thousand
    assert sum((count - 1000) ** 2 / 1000 for count in drawn.values()) < 31.3


def test_countdown_train_problems_repeat_only_after_all_have_come_up():
    task = TASKS["countdown"]
    pool = len(countdown_module._pool("train"))
    keys = [p.key for p in task.problems(2 * pool, split="train", seed=0)]
    assert len(set(keys[:pool])) == pool
    assert Counter(keys) == dict.fromkeys(keys, 2)


def test_countdown_refuses_more_test_problems_than_there_are():
    task = TASKS["countdown"]
    pool = len(countdown_module._pool("test"))
    assert len({p.key for p in task.problems(pool, split="test", seed=0)}) == pool
    with pytest.raises(ValueError, match=f"n is {pool + 1}, but countdown has {pool} test problems"):
        task.problems(pool + 1, split="test", seed=0)


def test_countdown_splits_are_the_whole_pool():
    """Counted again from the rule: 3 numbers of 1 to 9, target 1 to 99, at least 4 of the 108 trees' texts right."""
    expected = set()
    for a in range(1, 10):
        for b in range(a, 10):
            for c in range(b, 10):
                texts = {}
                for x, y, z in {(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)}:
                    for p in "+-*":
                        for q in "+-*":
                            texts[f"({x}{p}{y}){q}{z}"] = apply(apply(x, p, y), q, z)
                            texts[f"{x}{p}({y}{q}{z})"] = apply(x, p, apply(y, q, z))
                counts = Counter(texts.values())
                expected |= {f"{a},{b},{c}>{t}" for t, count in counts.items() if 1 <= t <= 99 and count >= 4}
    pool = [problem.key for split in ("train", "test") for problem in countdown_module._pool(split)]
    assert len(pool) == len(set(pool))
    assert set(pool) == expected


def apply(a, operator, b):
    return {"+": a + b, "-": a - b, "*": a * b}[operator]
