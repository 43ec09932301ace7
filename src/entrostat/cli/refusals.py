"""What tyro has printed of arguments that it refuses, as one sentence: what, what it got,
and what it takes."""

import re
from collections.abc import Sequence

from entrostat.texts import near

_FRAME = re.compile(r"[╭╮╰╯│─]+|-{3,}")
"""The box that tyro draws around an error."""
_ADVICE = re.compile(r" For full helptext| Arguments similar")
"""Where tyro's own advice begins, behind its error."""
_STRAY = re.compile(r"Unrecognized options: (\S+?),? ")
_NO_VALUE = re.compile(r"Missing value for argument '(\S+)'")
_LEFT_OUT = re.compile(
    r"Missing from entrostat [\w ]+: (?:(--\S+) \S+|(\S+)) (.*) \(required\)"
)
_CHOICE = re.compile(r"invalid choice '(.*)' for argument '(\S+)'\. .* of \((.*)\)")
_VALUE = re.compile(
    r"Error parsing (\S+): .*?'([^']*)'\]?.* Argument helptext: \S+ (.*)"
)
_OF_THE_CLASS = re.compile(r"^Value error Error parsing \w+: ")
"""A ValueError of the dataclass itself, which says all."""
_KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path"}


def refusal(printed: str, words: Sequence[str] = ()) -> str:
    """What is wrong with the arguments.

    Args:
        printed: what tyro has printed.
        words: what a stray word may have been meant for.
    """
    text = " ".join(_FRAME.sub(" ", printed).split())
    if stray := _STRAY.search(text + " "):
        return _stray(stray[1], words)
    error = _ADVICE.split(text)[0]
    if missing := _NO_VALUE.search(error):
        return f"{missing[1]} needs a value"
    if missing := _LEFT_OUT.search(error):
        return f"{missing[1] or missing[2]} is missing: {missing[3]}"
    if choice := _CHOICE.search(error):
        known = re.findall(r"'([^']*)'", choice[3])
        return f"{choice[2]} can't be {choice[1]!r}: {near(choice[1], known)}"
    if value := _VALUE.search(error):
        return f"{value[1]} must be {_kind(value[3])}, got {value[2]!r}"
    return _OF_THE_CLASS.sub("", error)


def _stray(word: str, words: Sequence[str]) -> str:
    if word.startswith("--"):
        # it is known, so it is a flag that is on by default
        return f"{word} is on already; {word.replace('--', '--no-', 1)} switches it off"
    if words:
        return f"unknown method {word!r}: {near(word, words)}"
    return f"{word!r} is one argument too many"


def _kind(helptext: str) -> str:
    """What a value is, by the name that the help has for it."""
    for name, kind in _KINDS.items():
        if name in helptext.split(" ")[0]:
            return kind
    return helptext.split(" ")[0]
