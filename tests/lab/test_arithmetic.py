"""The parser of expressions against a grammar that shares no code with it, and its bounds."""

import random
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entrostat.lab.tasks import TASKS, Problem
from entrostat.lab.tasks.arithmetic import MAX_DEPTH, MAX_LENGTH, MAX_VALUE, parse_expression
from expression_grammar import reference

COUNTDOWN = TASKS["countdown"]
SYMBOLS = "0123456789+-*()"


def countdown(*numbers, target):
    return Problem("", "", {"numbers": list(numbers), "target": target})


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
