"""Pieces of text that several rooms say: near names, the first line of an error, a number with its interval."""

import difflib
import math
from collections.abc import Iterable


def near(word: str, words: Iterable[str]) -> str:
    """`did you mean ...?` for a mistyped name; all names where none is near.

    >>> near("grop", ["grpo", "dcpo"])
    'did you mean grpo?'
    >>> near("xyz", ["grpo", "dcpo"])
    'known: grpo, dcpo'
    """
    words = list(words)
    return did_you_mean(word, words).strip() or f"known: {', '.join(words)}"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`did you mean ...? ` for a mistyped name, with a space behind it; empty where no name is near."""
    close = difflib.get_close_matches(word, list(words), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}? " if close else ""


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, at most so many characters; its type's name where it says nothing.

    >>> first_line(KeyError())
    'KeyError'
    """
    lines = str(error).strip().splitlines()
    return lines[0][:most] if lines else type(error).__name__


def interval_text(value: float, low: float, high: float, digits: int = 3) -> str:
    """A mean and its interval: `0.127 [0.077, 0.175]`; the mean alone where there is no interval (nan).

    >>> interval_text(0.127, 0.0771, 0.175)
    '0.127 [0.077, 0.175]'
    """
    mean = f"{value:.{digits}f}"
    if math.isnan(low):
        return mean
    return f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"
