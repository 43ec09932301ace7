"""Answers that compare as right with themselves, and that no model would write."""

import pytest

from entrostat.verify import VERIFIERS, VerifierPool, is_solution, readable

SOLUTION = "6 * 12 = <<6*12=72>>72 apples.\n#### 72"
WORKED = "Add the six boxes of twelve apples, which makes 72."


@pytest.mark.parametrize(
    ("verifier", "good", "bad"),
    [
        (
            "math",
            ["72", "\\frac{1}{2}", "\\text{(C)}", "2, 3", "so it is \\boxed{72}", "x \\in [-2, 7]", "$n=1$"],
            [SOLUTION, SOLUTION.replace("\n", " "), WORKED, "6 * 12\n72", "\\frac{"],
        ),
        ("last-number", ["72", SOLUTION, "1,234.5", "\\$18", "72 apples", "-3"], ["\\frac{1}{2}", "(1, 2)", WORKED]),
        ("gsm8k", ["72", SOLUTION, "1,200"], ["072", "72.0", "72 apples", WORKED]),
        ("dapo", ["72", "\\boxed{72}", "\\frac12"], ["025", "25.0", SOLUTION, SOLUTION.replace("\n", " "), WORKED]),
        ("exact", ["0123", "(6-6)+9"], []),
    ],
)
def test_what_a_model_can_match(verifier, good, bad):
    with VerifierPool(verifier, processes=1) as pool:
        assert readable([*good, *bad], pool) == [True] * len(good) + [False] * len(bad)


def test_a_refused_answer_is_one_that_the_bare_number_does_not_match():
    """What the refusals are for: these are right when put to themselves, and a right completion is not."""
    assert VERIFIERS["dapo"](SOLUTION.replace("\n", " "), "Answer: 72") == 0.0
    assert VERIFIERS["dapo"]("025", "Answer: 25") == 0.0
    assert VERIFIERS["math"](SOLUTION, "\\boxed{72}") == 0.0
    assert VERIFIERS["last-number"]("\\frac{1}{2}", "0.5") == 0.0
    assert VERIFIERS["last-number"](SOLUTION, "72") == 1.0


def test_a_solution_ends_in_a_marked_number():
    assert is_solution(SOLUTION) and is_solution("#### -1,200")
    assert not is_solution("72") and not is_solution("#### see above")


def test_exact_reads_every_character():
    assert VERIFIERS["exact"]("0123", "0123\n") == 1.0
    assert VERIFIERS["exact"]("0123", "123") == 0.0
