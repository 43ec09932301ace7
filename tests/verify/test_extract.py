"""What is extracted is all that a verifier reads: equal answers have equal scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.verify import SPELLINGS, VERIFIERS
from entrostat.verify.extract import extracted

PIECES = ["\\boxed{", "}", "#### ", "Answer: ", "1", "2", ",", ".", "-", "0", "\n", " ", "$", "\\frac", "{", "x = "]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.mark.parametrize("verifier", ["gsm8k", "last-number", "dapo"])
@given(texts, texts, st.sampled_from(["1", "2", "-1", "0", "12", "1.5"]))
def test_equal_answers_are_equally_right(verifier, first, second, gold):
    one, other = extracted(verifier, first), extracted(verifier, second)
    score = VERIFIERS[verifier]
    if one == other:
        assert score(gold, first) == score(gold, second)
    if one is not None:
        # and what it reads is enough to score on
        assert score(gold, SPELLINGS[verifier](one)) == score(gold, first) or verifier == "gsm8k"
    else:
        assert score(gold, first) == 0.0


@pytest.mark.parametrize(
    ("verifier", "completion", "answer"),
    [
        ("gsm8k", "48 #### 1,072", "1072"),
        ("gsm8k", "the answer is 72", None),
        ("last-number", "it is 007.50 or so", "7.5"),
        ("last-number", "-0.0", "0"),
        ("last-number", "none", None),
        ("last-number", "9" * 60, "9" * 60),
        ("math", "\\boxed{1} then \\boxed{ \\frac{1}{2}\n}", "\\frac{1}{2}"),
        ("math", "\\boxed{1", None),
        ("math", "\\boxed{" + "9" * 2000 + "}", None),
        ("dapo", "Answer: 1\nAnswer: $1,000$ dollars", "1000"),
        ("dapo", "1000", None),
    ],
)
def test_by_hand(verifier, completion, answer):
    assert extracted(verifier, completion) == answer
