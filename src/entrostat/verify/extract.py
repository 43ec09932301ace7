"""What a verifier takes for the answer of a completion, as text: the vote of maj@k."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from entrostat.verify import boxed, dapo, exact, gsm8k


def extracted(verifier: str, completion: str) -> str | None:
    r"""The answer that `verifier` reads in `completion`; None where there is none.

    Completions with equal answers here are equally right to the verifier: it reads no
    more of them than this. It may take different ones for equal ("1/2" and "0.5" are
    two answers here), as a vote by text does.

    >>> extracted("math", r"\boxed{1} or \boxed{ 2 }")
    '2'
    >>> extracted("last-number", "$1,234.50 a day")
    '1234.5'
    """
    return _READERS[verifier](completion)


def _number(completion: str) -> str | None:
    """The last number, spelt in one way."""
    number = gsm8k.last_value(completion)
    if number is None:
        return None
    digits = f"{number:f}"
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def _boxed(completion: str) -> str | None:
    """The last box, its spaces in one way."""
    given = boxed.last_box(completion)
    if given is None or len(given) > boxed.LONGEST:
        return None
    return " ".join(given.split())


_READERS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {
        "gsm8k": gsm8k.marked,
        "last-number": _number,
        "math": _boxed,
        "dapo": dapo.last_answer,
        "exact": exact.read,
    }
)
