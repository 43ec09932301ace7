"""The verifiers against references that share no code with them, and against hostile text."""

import random
from itertools import pairwise, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.lab.tasks import TASKS, Problem
from expression_grammar import reference

COUNTDOWN, PATH, CHAIN, TIMES = (TASKS[name] for name in ("countdown", "path", "chain", "times"))
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def countdown(*numbers, target):
    return Problem("", "", {"numbers": list(numbers), "target": target})


def enumerate_answers(numbers):
    """Every fully parenthesised expression of all the numbers, with its value: join any two until one is left."""

    def join(items):
        if len(items) == 1:
            yield items[0]
        for i, j in permutations(range(len(items)), 2):
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            (a, x), (b, y) = items[i], items[j]
            for operator, value in (("+", x + y), ("-", x - y), ("*", x * y)):
                yield from join([*rest, (f"({a}{operator}{b})", value)])

    return dict(join([(str(n), n) for n in numbers]))


@pytest.mark.parametrize("seed", range(6))
def test_countdown_scores_every_expression_like_brute_force(seed):
    problem = COUNTDOWN.problems(1, split="test", seed=seed)[0]
    numbers, target = problem.data["numbers"], problem.data["target"]
    answers = enumerate_answers(numbers)
    assert any(value == target for value in answers.values())
    for text, value in answers.items():
        assert COUNTDOWN.score(problem, text) == float(value == target)
        assert COUNTDOWN.score(problem, text[1:-1]) == float(value == target)
    for wrong in ([*numbers, 1], numbers[:2], [numbers[0], *numbers[:2]], [n + 1 for n in numbers]):
        if sorted(wrong) != sorted(numbers):
            assert not any(COUNTDOWN.score(problem, text) for text in enumerate_answers(wrong))


@pytest.mark.parametrize("seed", range(6))
def test_solver_reaches_every_expression_with_the_parentheses_it_needs(seed):
    problem = COUNTDOWN.problems(1, split="train", seed=seed)[0]
    numbers, target = problem.data["numbers"], problem.data["target"]
    every = {text[1:-1] for text, value in enumerate_answers(numbers).items() if value == target}
    rng = random.Random(0)
    assert {COUNTDOWN.solve(problem, rng) for _ in range(2000)} == every


def brute_force_paths(data):
    """Every sequence of distinct nodes from start to goal whose steps are all edges."""
    edges = set(data["edges"])
    return {
        ">".join(nodes)
        for length in range(2, 7)
        for nodes in permutations("abcdef", length)
        if (nodes[0], nodes[-1]) == (data["start"], data["goal"]) and all(a + b in edges for a, b in pairwise(nodes))
    }


@pytest.mark.parametrize("seed", range(6))
def test_path_scores_every_sequence_of_nodes_like_brute_force(seed):
    problem = PATH.problems(1, split="test", seed=seed)[0]
    right = brute_force_paths(problem.data)
    assert len(right) >= 2
    sequences = [nodes for length in range(5) for nodes in product("abcdef", repeat=length)]
    sequences += [nodes for length in (5, 6) for nodes in permutations("abcdef", length)]
    for nodes in sequences:
        text = ">".join(nodes)
        assert PATH.score(problem, text) == float(text in right), text
        for damaged in (text + ">", ">" + text, text[:-1], text[1:], text.replace(">", ","), "".join(nodes)):
            assert PATH.score(problem, damaged) == float(damaged in right), damaged
    rng = random.Random(0)
    assert {PATH.solve(problem, rng) for _ in range(1000)} == right


def test_path_problems_keep_the_rules_of_the_pool():
    for problem in PATH.problems(200, split="train", seed=0):
        edges, start, goal = problem.data["edges"], problem.data["start"], problem.data["goal"]
        assert edges == sorted(set(edges))
        assert all(tail != head for tail, head in edges)
        assert problem.prompt == f"{','.join(edges)}:{start}>{goal}="
        right = brute_force_paths(problem.data)
        assert len(right) >= 2
        assert len(edges) == 8
        assert start + goal not in edges


def running_sums(data):
    """From the sums as they are, each of them taken mod 10 at the end."""
    digits = data["digits"]
    return "".join(str(sum(digits[: n + 1]))[-1] for n in range(1, len(digits)))


def columns(data):
    """From products of whole tails of the number: what stands above a column is its tail's product, cut below it."""
    number = "".join(map(str, data["digits"]))
    working = ""
    for place in range(len(number)):
        tail = int(number[-place - 1 :]) * data["multiplier"]
        working += str(tail // 10**place).zfill(2)
    return working


INDEPENDENT = {
    "countdown": lambda data, text: bool(reference(text)),
    "path": lambda data, text: text in brute_force_paths(data),
    "chain": lambda data, text: text == running_sums(data),
    "times": lambda data, text: text == columns(data),
}


@pytest.mark.parametrize(("task", "expected"), [(CHAIN, running_sums), (TIMES, columns)], ids=["chain", "times"])
def test_the_one_right_answer_is_that_of_an_independent_computation(task, expected):
    rng = random.Random(0)
    for problem in task.problems(300, split="test", seed=0):
        right = expected(problem.data)
        assert task.solve(problem, rng) == right
        assert task.score(problem, right) == 1.0
        # every answer that is wrong in one digit
        for place, digit in product(range(len(right)), "0123456789"):
            changed = right[:place] + digit + right[place + 1 :]
            assert task.score(problem, changed) == float(digit == right[place])


@pytest.mark.parametrize("task", [CHAIN, TIMES], ids=["chain", "times"])
def test_prompts_say_the_problem(task):
    for problem in task.problems(100, split="train", seed=0):
        digits = [int(c) for c in problem.prompt if c.isdigit()]
        if task is CHAIN:
            assert problem.prompt == "+".join(map(str, problem.data["digits"])) + "="
            assert digits == problem.data["digits"]
            assert len(digits) == 6
        else:
            assert digits == [*problem.data["digits"], problem.data["multiplier"]]
            assert problem.prompt[3:] == f"*{problem.data['multiplier']}="
            assert all(2 <= digit <= 9 for digit in digits)
            assert len(digits) == 4


COUNTDOWN_25 = countdown(3, 4, 7, target=25)
PATH_AF = Problem("", "", {"edges": ["ab", "ac", "bf", "ce", "ef"], "start": "a", "goal": "f"})
CHAIN_371 = Problem("", "", {"digits": [3, 7, 2, 9, 1, 4]})
TIMES_7 = Problem("", "", {"digits": [9, 4, 2], "multiplier": 7})
EXAMPLES = {"countdown": COUNTDOWN_25, "path": PATH_AF, "chain": CHAIN_371, "times": TIMES_7}
RIGHT_FOR = {
    "countdown": ["(7*4)-3", "7*4-3"],
    "path": ["a>c>e>f", "a>b>f"],
    "chain": ["02126"],
    "times": ["142965"],
}
RIGHT = [text for texts in RIGHT_FOR.values() for text in texts]
WRONG_EXPRESSIONS = [
    "25",
    "(7*4)-3=",
    "(7*4)-3=25",
    "25=(7*4)-3",
    "(7*4)-3,(7*4)-3",
    "(7*4)-3<eos>",
    "answer:(7*4)-3",
    "7*4-3;",
    "7*4-3,",
    "7*4-3#",
    "7,4,3",
    "+7*4-3",
    "-3+7*4",
    "7*4+-3",
    "7*4--3",
    "--7*4-3",
    "7*4-3-",
    "*7*4-3",
    "7*4-3+0",
    "7*4-3*1",
    "(7)(4)-3",
    "7(4)-3",
    "74-3",
    "7*43",
    "3-7*4",
    "7*(4-3)",
    "()",
    "(",
    ")",
    ")(",
    "((7*4)-3",
    "(7*4))-3",
    "(7*4-3",
    "7*4-3)",
    "()7*4-3",
    "7*4-(3",
    "(7*4)-()3",
    "7*4()-3",
    "9**9**9",
    "7**4-3",
    "7*4-3**1",
    "7//4",
    "7/4",
    "7%4",
    "7^4",
    "7<<4",
    "07*4-3",
    "7*4-03",
    "7*4-3.0",
    "7e0*4-3",
    "0x7*4-3",
    "7_0",
    "1_0",
    "7j*4-3",
    "True*4-3",
    "٧*٤-٣",
    "７*４-３",
    "7×4−3",
    "7*4–3",
    "²",
    "Ⅶ*4-3",
    "(7*4)‑3",
    "7⁎4-3",
    "{7*4-3}",
    "${7*4-3}",
    "%s%n",
    "<script>",
    "lambda:0",
    "[].__class__",
    "exec('1')",
    "__import__('os').system('true')",
]
WRONG_PATHS = [
    "a",
    "f",
    "af",
    "acef",
    "a,c,e,f",
    "a->c->e->f",
    "A>C>E>F",
    "a>c>e>f>",
    ">a>c>e>f",
    "a>>c>e>f",
    "a>c>e>f=",
    "a>c>e>f<eos>",
    "a>c>e>f,a>b>f",
    "a>f",
    "a>b>e>f",
    "c>e>f",
    "a>c>e",
    "a>c>e>f>f",
    "a>a>c>e>f",
    "f>e>c>a",
    "a>b>c>d>e>f",
    "a>c>a>b>f",
    "a>g>f",
    "а>с>е>f",
    "a＞c＞e＞f",
    "aa>bf",
    "a>cc>ff",
    "aabbf",
]
WRONG_DIGITS = [
    "0",
    "6",
    "0212",
    "2126",
    "021266",
    "002126",
    "0,2,1,2,6",
    "02126=",
    "3+7+2+9+1+4=02126",
    "-02126",
    "+02126",
    "2126.0",
    "02_126",
    "62120",
    "٠٢١٢٦",
    "０２１２６",
    "14296",
    "1429650",
    "0142965",
    "6594",
    "652914",
    "14,29,65",
    "942*7=142965",
    "１４２９６５",
    "02136",
    "142966",
]
AROUND = [
    "{} ",
    " {}",
    "{}\n",
    "\n{}",
    "{}\x00",
    "\x00{}",
    "\ufeff{}",
    "{}\u200b",
    "\u202e{}",
    "\x1b[31m{}",
    "{0}{0}",
    "{0} {0}",
]
HUGE = [
    "9",
    "(",
    ")",
    "7*",
    "-",
    "a",
    ">",
    "a>",
    "a>b>f",
    "\x00",
    "٣",
    "9**",
    "(7*4)-3",
    "(7*4)-3+",
    "02126",
    " ",
    "\n",
    "👍",
]
HOSTILE = [
    *("", " ", "\n", "\t", "\x00", "\ud800", "\udfff7*4-3", "\U0010ffff", "é", "👍", "\r", "\x0b", "\x7f", "( 7*4)-3"),
    *WRONG_EXPRESSIONS,
    *WRONG_PATHS,
    *WRONG_DIGITS,
    *(around.format(right) for around in AROUND for right in RIGHT),
    *(unit * (10**6 // len(unit)) for unit in HUGE),
    "(" * 500_000 + ")" * 500_000,
    "(7*4)-3" + " " * 10**6,
    "a>b>f" + "\n" * 10**6,
]


@every_task
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:16]))
def test_hostile_text_scores_zero(task, text):
    assert task.score(EXAMPLES[task.name], text) == 0.0


@every_task
def test_what_the_hostile_texts_surround_is_right_for_its_task_alone(task):
    scores = {text: task.score(EXAMPLES[task.name], text) for text in RIGHT}
    assert scores == {text: float(text in RIGHT_FOR[task.name]) for text in RIGHT}


@every_task
@given(text=st.one_of(st.text(), st.text(alphabet=st.characters()), st.text(alphabet="abcdef0123456789+-*()<>=, ")))
def test_any_text_gets_a_score(task, text):
    problem = task.problems(1, split="test", seed=0)[0]
    score = task.score(problem, text)
    assert score in (0.0, 1.0)
    if score == 1.0:
        assert INDEPENDENT[task.name](problem.data, text)


def test_a_path_may_visit_no_node_twice():
    data = {"edges": ["ab", "ba", "bc", "cb", "cd"], "start": "a", "goal": "d"}
    assert PATH.score(Problem("", "", data), "a>b>c>d") == 1.0
    assert PATH.score(Problem("", "", data), "a>b>c>b>c>d") == 0.0
    assert PATH.score(Problem("", "", data), "a>b>a>b>c>d") == 0.0
    assert PATH.score(Problem("", "", {**data, "edges": [*data["edges"], "aa"]}), "a>a>b>c>d") == 0.0
