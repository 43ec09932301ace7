r"""The verifier for answers in \boxed{}: math-verify, on the last box of a completion.

Only the standard library and math-verify (extra `math`): a worker loads this file by
itself. math-verify takes its own time-out for a wrong answer, so it is switched off
here; the pool has one that says so.
"""

import functools
import logging
from typing import Any

LONGEST = 1000
"""Characters of an answer; a longer one is wrong. The longest of MATH-500 has 159."""
DEEPEST = 20
"""Brackets in brackets; a deeper answer is wrong. The parser takes seconds for some
hundred."""
TRIAL = "1"
"""An answer that a worker warms up on."""


def math(answer: str, completion: str) -> float:
    r"""1.0 if the last \boxed{} of `completion` is mathematically equal to `answer`,
    else 0.0.

    No box, or one that does not close, is wrong.

    Args:
        answer: LaTeX, with or without a \boxed{} of its own.
    """
    given = last_box(completion)
    if given is None or len(given) > LONGEST or _depth(given) > DEEPEST:
        return 0.0
    # an extra, which a worker has and whoever only spells answers may lack
    from math_verify import verify

    right = _parsed(_unboxed(answer))
    if not right:
        return 0.0
    return float(verify(list(right), _parse(given), timeout_seconds=None))


def last_box(text: str) -> str | None:
    r"""What stands in the last \boxed{} of `text`; None where there is none or it does
    not close.

    >>> last_box(r"so \boxed{1}, no: \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for at in range(start, min(len(text), start + LONGEST + 1)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start:at]
    return None


def spell(answer: str) -> str:
    """A right completion."""
    return f"\\boxed{{{_unboxed(answer)}}}"


def _unboxed(answer: str) -> str:
    boxed = last_box(answer)
    return answer if boxed is None else boxed


def _depth(text: str) -> int:
    """The most brackets that are open at once."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


@functools.lru_cache(maxsize=4096)
def _parsed(answer: str) -> tuple[Any, ...]:
    """A right answer: the samples of one problem all ask for the same."""
    return tuple(_parse(answer))


def _parse(answer: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # it would say on each text that there is no time-out, and log the text
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    # LaTeX only: its other reader, of plain expressions, calls eval
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    text = f"\\boxed{{{answer}}}"
    return parse(text, config, parsing_timeout=None)  # pyright: ignore[reportArgumentType]
