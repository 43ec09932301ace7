"""What a verifier takes for the answer of a completion, as text: the vote of maj@k."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from entrostat.verify import boxed, dapo, gsm8k


def extracted(verifier: str, completion: str) -> str | None:
    r"""The answer that `verifier` reads in `completion`; None where it finds none.

    Completions with equal answers here are equally right to the verifier: it reads no more of them than this. It may
    take different ones for equal ("1/2" and "0.5" are two answers here), as a vote by text does.

    >>> extracted("math", r"\boxed{1} or \boxed{ 2 }"), extracted("last-number", "$1,234.50 a day")
    ('2', '1234.5')
    """
    return _READERS[verifier](completion)


def _marked(completion: str) -> str | None:
    found = gsm8k._MARKED.findall(completion[-gsm8k.TAIL :])
    return found[-1].replace(",", "") if found else None


def _number(completion: str) -> str | None:
    number = gsm8k._last(completion)
    if number is None:
        return None
    digits = f"{number:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if digits == "-0" else digits


def _boxed(completion: str) -> str | None:
    given = boxed.last_box(completion)
    return (
        None if given is None or len(given) > boxed.LONGEST else " ".join(given.split())
    )


def _dapo(completion: str) -> str | None:
    found = dapo._ANSWER.findall(completion[-dapo.TAIL :])
    return dapo.normalised(found[-1]) if found else None


_READERS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {"gsm8k": _marked, "last-number": _number, "math": _boxed, "dapo": _dapo}
)
