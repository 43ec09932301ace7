"""Answers that no model would write: an answer is tried on its verifier as a
completion, and that alone compares it with itself.

A column with worked solutions in place of answers would pass, and then score every
right completion 0.
"""

import re
from collections.abc import Sequence

from entrostat.verify.boxed import last_box
from entrostat.verify.gsm8k import final_number
from entrostat.verify.pool import VerifierPool
from entrostat.verify.registry import SPELLINGS

MOST_WORDS = 5
"""Words of an answer outside of LaTeX; with more it is a sentence. MATH-500 and
OlympiadBench have answers of a name or two."""

_LATEX = re.compile(r"\\(?:text|mbox|mathrm|textbf)\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_PLAIN_NUMBER = re.compile(r"(\\?\$)?-?[0-9.,]*[0-9](\\?[%$]|\s*[A-Za-z]+)?")
"""A number, with the currency or the unit that a model may write beside it."""
_ODD_SPELLING = re.compile(r"-?0[0-9]+|-?[0-9,]+\.0*")
"""025 or 25.0 for 25."""


def readable(answers: Sequence[str], pool: VerifierPool) -> list[bool]:
    """Of each answer whether a model can be right: it is one that a model would write,
    and the pool's verifier takes it for right when it is spelt out to it."""
    spell = SPELLINGS[pool.verifier]
    verdicts = pool.score([(answer, spell(answer)) for answer in answers])
    found = []
    for answer, verdict in zip(answers, verdicts, strict=True):
        is_right = verdict.score == 1.0
        found.append(is_right and is_final(answer, pool.verifier))
    return found


def is_final(answer: str, verifier: str) -> bool:
    r"""Whether the verifier reads the answer as it reads what a model would write.

    >>> is_final("6 * 12 = 72\n#### 72", "math"), is_final("72", "math")
    (False, True)
    >>> is_final("6 * 12 = 72\n#### 72", "last-number")
    True
    """
    return _FINAL[verifier](answer)


def is_solution(answer: str) -> bool:
    """Whether it is a worked solution in the form of GSM8K, which ends in "#### n"."""
    _, mark, number = answer.rpartition("####")
    return bool(mark) and _PLAIN_NUMBER.fullmatch(number.strip()) is not None


def _math(answer: str) -> bool:
    boxed = last_box(answer)
    return _is_short(answer if boxed is None else boxed)


def _dapo(answer: str) -> bool:
    """Its rule compares characters: 025 is not 25."""
    return _is_short(answer) and not _ODD_SPELLING.fullmatch(answer.strip())


def _gsm8k(answer: str) -> bool:
    """As `_dapo`."""
    return _ODD_SPELLING.fullmatch(final_number(answer)) is None


def _last_number(answer: str) -> bool:
    r"""Of \frac{1}{2} or (1, 2) it would read the 2."""
    return _PLAIN_NUMBER.fullmatch(final_number(answer)) is not None


def _any(answer: str) -> bool:
    """Of "gym" it is where the problem is; of "exact" every text is an answer."""
    return True


_FINAL = {
    "gsm8k": _gsm8k,
    "last-number": _last_number,
    "math": _math,
    "dapo": _dapo,
    "gym": _any,
    "exact": _any,
}


def _is_short(answer: str) -> bool:
    """One line without a solution's mark and with few words."""
    text = answer.strip()
    if "####" in text or "\n" in text:
        return False
    words = _WORD.findall(_LATEX.sub(" ", text))
    return len(words) <= MOST_WORDS
