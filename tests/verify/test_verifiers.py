"""The rules by hand, and boxed answers against math-verify as its own users call it."""

import math_verify
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.verify import SPELLINGS, VERIFIERS, check_verifier

SOLUTION = "He sells 24 + 48 = <<24+48=72>>72 clips.\n#### 1,072"


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("72", "so #### 72", 1.0),
        ("72", "#### 7 no, #### 72", 1.0),
        ("72", "#### 72 no, #### 7", 0.0),
        ("72", "so 72", 0.0),
        ("72", "####72", 0.0),
        ("72", "#### 72.0", 0.0),
        ("72", "#### ٧٢", 0.0),
        (SOLUTION, "#### 1,072", 1.0),
        (SOLUTION, "#### 1072", 1.0),
        (SOLUTION, "#### 72", 0.0),
        ("-3", "#### -3", 1.0),
        ("3", "#### -3", 0.0),
        ("72", "#### 72" + " " * 300, 0.0),
    ],
)
def test_strict_gsm8k(answer, completion, right):
    assert VERIFIERS["gsm8k"](answer, completion) == right


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("72", "The answer is 72.", 1.0),
        ("72", "$72.00", 1.0),
        ("72", "72, or 71", 0.0),
        (SOLUTION, "it is 1,072 clips", 1.0),
        ("72", "no idea", 0.0),
        ("72", "٧٢", 0.0),
        ("-3", "-3", 1.0),
        ("72", "9" * 1000, 0.0),
    ],
)
def test_last_number(answer, completion, right):
    assert VERIFIERS["last-number"](answer, completion) == right


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("34", "Answer: 34", 1.0),
        ("34", "answer : $34$", 1.0),
        ("34", "Answer: 34\nAnswer: 35", 0.0),
        ("1000", "Answer: 1,000 dollars", 1.0),
        ("34", "Answer: x = 34", 1.0),
        ("34", "Answer: \\boxed{34}", 1.0),
        ("\\frac{1}{2}", "Answer: $\\frac12$", 1.0),
        ("\\sqrt{2}", "Answer: \\sqrt2", 1.0),
        ("34", "34", 0.0),
        ("34", "Answer: 3 4 5", 0.0),
        ("34", "Answer: 34" + " " * 300, 0.0),
    ],
)
def test_dapo(answer, completion, right):
    assert VERIFIERS["dapo"](answer, completion) == right


@pytest.mark.parametrize("answer", ["72", "\\frac{1}{2}", "(1,2)", "x^2+1", "\\text{A}", "7,200", "\\sqrt{3}", "[0,1)"])
@pytest.mark.parametrize("given", ["72", "0.5", "(1, 2)", "1+x^2", "A", "7200", "3^{1/2}", "[0, 1)", "-72"])
def test_boxed_answers_are_judged_as_math_verify_judges_them(answer, given):
    expected = math_verify.verify(
        math_verify.parse(f"\\boxed{{{answer}}}", [math_verify.LatexExtractionConfig()]),
        math_verify.parse(f"\\boxed{{{given}}}", [math_verify.LatexExtractionConfig()]),
    )
    assert VERIFIERS["math"](answer, f"so \\boxed{{1}}, rather \\boxed{{{given}}}.") == float(expected)


@pytest.mark.parametrize("completion", ["1", "\\boxed{1", "\\boxed{2} \\boxed{}", "\\boxed 1", "\\boxed{" + "{" * 99])
def test_what_is_not_boxed_is_wrong(completion):
    assert VERIFIERS["math"]("1", completion) == 0.0


@given(st.integers(-(10**9), 10**9))
def test_every_verifier_takes_its_own_spelling_and_no_other_number(n):
    for name in ("gsm8k", "last-number", "dapo", "math"):
        assert VERIFIERS[name](str(n), SPELLINGS[name](str(n))) == 1.0
        assert VERIFIERS[name](str(n + 1), SPELLINGS[name](str(n))) == 0.0


def test_an_unknown_verifier_is_told():
    with pytest.raises(ValueError, match="unknown verifier 'gsm8': did you mean gsm8k"):
        check_verifier("gsm8")
