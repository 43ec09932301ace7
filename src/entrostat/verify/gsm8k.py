"""Verifiers for GSM8K (arXiv 2110.14168), whose answers are whole numbers behind "####
".

Only the standard library: a worker loads this file by itself.
"""

import re
from decimal import Decimal

TAIL = 300
"""Characters of a completion that are searched for "#### n", as in verl: the answer
ends the text."""
LONGEST = 64
"""Characters of a number; a longer one is wrong."""

TRIAL = "1"
"""An answer that a worker warms up on."""

_MARKED = re.compile(r"#### (-?[0-9.,]{1,300})")
_NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?|-?\.[0-9]+")


def gsm8k(answer: str, completion: str) -> float:
    """1.0 if the last "#### n" of `completion` is the answer, else 0.0: the strict
    rule, for training.

    As verl has it: commas go, then the characters must be equal, so "#### 72.0" and
    "#### 72." are wrong for 72.

    Args:
        answer: the number, or GSM8K's whole solution, which ends in "#### 72".
    """
    return float(marked(completion) == final_number(answer))


def last_number(answer: str, completion: str) -> float:
    """1.0 if the last number of `completion` has the answer's value, else 0.0: the
    lenient rule, for validation.

    verl's rule takes a full stop behind the number for a part of it; here "The answer
    is 72." is right. "$", "%" and other signs around the number don't matter, nor does
    ".00" behind it.
    """
    number = last_value(completion)
    return float(number is not None and number == last_value(final_number(answer)))


def marked(completion: str) -> str | None:
    """What the strict rule reads: the last "n" behind "#### ", without commas."""
    numbers = _MARKED.findall(completion[-TAIL:])
    return numbers[-1].replace(",", "") if numbers else None


def last_value(text: str) -> Decimal | None:
    """What the lenient rule reads: the value of the last number."""
    # what is in front of the last number does not count, so a long text costs as little
    # as a short one
    numbers = _NUMBER.findall(text[-TAIL * 10 :])
    digits = numbers[-1].replace(",", "") if numbers else ""
    return Decimal(digits) if 0 < len(digits) <= LONGEST else None


def final_number(answer: str) -> str:
    """What stands behind the last "####" of a solution, or all of it, without commas
    and space."""
    return answer.rpartition("####")[2].replace(",", "").strip()


def spell(answer: str) -> str:
    """A right completion, for both rules."""
    return f"#### {final_number(answer)}"
