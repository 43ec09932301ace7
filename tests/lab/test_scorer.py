"""The verifiers against references that share no code with them, and against hostile text."""

import random
from functools import cache
from itertools import pairwise, permutations, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrostat.lab.tasks import TASKS, Problem
from entrostat.lab.tasks.arithmetic import MAX_DEPTH, MAX_LENGTH, MAX_VALUE, parse_expression

COUNTDOWN, PATH = TASKS["countdown"], TASKS["path"]
SYMBOLS = "0123456789+-*()"
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def countdown(*numbers, target):
    return Problem("", "", {"numbers": list(numbers), "target": target})


# A reference for the grammar: split the text in every way that a rule allows, no tokens, no position, no state.
@cache
def reference(text, rule="expression"):
    """(value, numbers) of `text` under a rule of the grammar, or None."""
    if rule == "expression":
        return _binary(text, "+-", "expression", "term") or reference(text, "term")
    if rule == "term":
        return _binary(text, "*", "term", "factor") or reference(text, "factor")
    if text[:1] == "(" and text[-1:] == ")":
        return reference(text[1:-1])
    digits = bool(text) and set(text) <= set("0123456789")
    return (int(text), (int(text),)) if digits and (text == "0" or text[0] != "0") else None


def _binary(text, operators, left_rule, right_rule):
    for i in reversed(range(len(text))):
        if text[i] in operators:
            left, right = reference(text[:i], left_rule), reference(text[i + 1 :], right_rule)
            if left and right:
                (a, left_numbers), (b, right_numbers) = left, right
                value = a + b if text[i] == "+" else a - b if text[i] == "-" else a * b
                return value, left_numbers + right_numbers
    return None


def parsed(text):
    try:
        return tuple(parse_expression(text))
    except ValueError:
        return None


def test_parser_agrees_with_the_reference_on_every_short_text():
    for length in range(6):
        for letters in product("10+-*()", repeat=length):
            text = "".join(letters)
            assert parsed(text) == reference(text), text


# A tree is a number, or (operator, left, right): its value is known without any text.
TREES = st.recursive(st.integers(0, 99), lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner), max_leaves=6)


def value_of(tree):
    if isinstance(tree, int):
        return tree
    operator, left, right = tree
    a, b = value_of(left), value_of(right)
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def leaves_of(tree):
    return [tree] if isinstance(tree, int) else leaves_of(tree[1]) + leaves_of(tree[2])


def write(tree, spare):
    """The tree with the parentheses it needs, and `spare()` more around each node."""
    text = str(tree)
    if not isinstance(tree, int):
        operator, left, right = tree
        text = f"{operand(left, operator, False, spare)}{operator}{operand(right, operator, True, spare)}"
    extra = spare()
    return "(" * extra + text + ")" * extra


def operand(tree, operator, is_right, spare):
    text = write(tree, spare)
    if isinstance(tree, int) or (text[0] + text[-1] == "()" and balanced(text[1:-1])):
        return text
    binds_tighter = tree[0] == "*" and operator != "*"
    groups_left = not is_right and (tree[0] == "*" or operator != "*")
    return text if binds_tighter or groups_left else f"({text})"


def balanced(text):
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


@given(tree=TREES, seed=st.integers(0, 999))
def test_a_written_tree_is_read_with_its_value_and_numbers(tree, seed):
    rng = random.Random(seed)
    text = write(tree, lambda: rng.choice((0, 0, 1)))
    assume(len(text) <= MAX_LENGTH)
    try:
        expression = parse_expression(text)
    except ValueError as refusal:
        assert f"exceeds {MAX_VALUE}" in str(refusal)
        return
    assert expression == (value_of(tree), tuple(leaves_of(tree)))
    assert COUNTDOWN.score(countdown(*leaves_of(tree), target=value_of(tree)), text) == 1.0
    assert COUNTDOWN.score(countdown(*leaves_of(tree), target=value_of(tree) + 1), text) == 0.0
    assert COUNTDOWN.score(countdown(*leaves_of(tree), 1, target=value_of(tree)), text) == 0.0


@given(tree=TREES, at=st.integers(0, 60), put=st.sampled_from([*SYMBOLS, ""]), drop=st.integers(0, 2))
def test_parser_agrees_with_the_reference_on_damaged_expressions(tree, at, put, drop):
    text = write(tree, lambda: 0)
    at %= len(text) + 1
    text = text[:at] + put + text[at + drop :]
    assume(len(text) <= 24)
    expected = reference(text)
    assume(expected is None or max(expected[1]) <= 999)
    assert parsed(text) == expected or (expected and "exceeds" in refusal(text))


def refusal(text):
    with pytest.raises(ValueError) as caught:
        parse_expression(text)
    return str(caught.value)


@given(text=st.text(alphabet=SYMBOLS, max_size=14))
def test_parser_agrees_with_the_reference_on_random_symbols(text):
    expected = reference(text)
    if expected is None or max(expected[1]) <= 999:
        assert parsed(text) == expected


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


COUNTDOWN_25 = countdown(3, 4, 7, target=25)
PATH_AF = Problem("", "", {"edges": ["ab", "ac", "bf", "ce", "ef"], "start": "a", "goal": "f"})
RIGHT = ["(7*4)-3", "7*4-3", "a>c>e>f", "a>b>f"]
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
HUGE = ["9", "(", ")", "7*", "-", "a", ">", "a>", "a>b>f", "\x00", "٣", "9**", "(7*4)-3", "(7*4)-3+", " ", "\n", "👍"]
HOSTILE = [
    *("", " ", "\n", "\t", "\x00", "\ud800", "\udfff7*4-3", "\U0010ffff", "é", "👍", "\r", "\x0b", "\x7f", "( 7*4)-3"),
    *WRONG_EXPRESSIONS,
    *WRONG_PATHS,
    *(around.format(right) for around in AROUND for right in RIGHT),
    *(unit * (10**6 // len(unit)) for unit in HUGE),
    "(" * 500_000 + ")" * 500_000,
    "(7*4)-3" + " " * 10**6,
    "a>b>f" + "\n" * 10**6,
]


@every_task
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:16]))
def test_hostile_text_scores_zero(task, text):
    assert task.score(COUNTDOWN_25 if task is COUNTDOWN else PATH_AF, text) == 0.0


def test_what_the_hostile_texts_surround_is_right():
    assert [COUNTDOWN.score(COUNTDOWN_25, text) for text in RIGHT] == [1.0, 1.0, 0.0, 0.0]
    assert [PATH.score(PATH_AF, text) for text in RIGHT] == [0.0, 0.0, 1.0, 1.0]


@every_task
@given(text=st.one_of(st.text(), st.text(alphabet=st.characters()), st.text(alphabet="abcdef0123456789+-*()<>=, ")))
def test_any_text_gets_a_score(task, text):
    problem = task.problems(1, split="test", seed=0)[0]
    score = task.score(problem, text)
    assert score in (0.0, 1.0)
    if score == 1.0:
        right = reference(text) if task is COUNTDOWN else text in brute_force_paths(problem.data)
        assert right


def test_a_path_may_visit_no_node_twice():
    data = {"edges": ["ab", "ba", "bc", "cb", "cd"], "start": "a", "goal": "d"}
    assert PATH.score(Problem("", "", data), "a>b>c>d") == 1.0
    assert PATH.score(Problem("", "", data), "a>b>c>b>c>d") == 0.0
    assert PATH.score(Problem("", "", data), "a>b>a>b>c>d") == 0.0
    assert PATH.score(Problem("", "", {**data, "edges": [*data["edges"], "aa"]}), "a>a>b>c>d") == 0.0


def test_bounds_of_the_parser_are_where_they_say():
    deep = "(" * MAX_DEPTH + "7*4" + ")" * MAX_DEPTH + "-3"
    assert COUNTDOWN.score(countdown(3, 4, 7, target=25), deep) == 1.0
    assert COUNTDOWN.score(countdown(3, 4, 7, target=25), f"({deep})") == 0.0
    assert "deeper" in refusal(f"({deep})")
    longest = "+".join(["1"] * (MAX_LENGTH // 2 - 1)) + "+11"
    assert len(longest) == MAX_LENGTH
    assert parse_expression(longest).value == MAX_LENGTH // 2 - 1 + 11
    assert "at most" in refusal(longest + "1")
    assert parse_expression(str(MAX_VALUE)).value == MAX_VALUE
    assert "exceeds" in refusal(str(MAX_VALUE + 1))
    assert "exceeds" in refusal(f"{MAX_VALUE}+1")
    assert "exceeds" in refusal(f"0-{MAX_VALUE}-1")
    assert "exceeds" in refusal(f"{MAX_VALUE}*2-{MAX_VALUE}")


@pytest.mark.parametrize("text", ["", "x", "(", "7+", "07", "7)", "9" * 10**6, "(" * 40, "9" * 20])
def test_refusals_are_one_short_line(text):
    assert "\n" not in refusal(text)
    assert len(refusal(text)) < 160
