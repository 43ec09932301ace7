"""The registry of verifiers: pure functions from an answer and a completion to 1.0
(right) or 0.0.

>>> VERIFIERS["gsm8k"]("72", "48 and 24 are #### 72")
1.0
"""

import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType

from entrostat.texts import near
from entrostat.verify import boxed, dapo, exact, gsm8k, gym

VERIFIERS: Mapping[str, Callable[[str, str], float]] = MappingProxyType(
    {
        "gsm8k": gsm8k.gsm8k,
        "last-number": gsm8k.last_number,
        "math": boxed.math,
        "dapo": dapo.dapo,
        "gym": gym.gym,
        "exact": exact.exact,
    }
)
"""(answer, completion) -> 1.0 or 0.0. Run them in a VerifierPool: "math" can take hours
over one text."""

SPELLINGS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "gsm8k": gsm8k.spell,
        "last-number": gsm8k.spell,
        "math": boxed.spell,
        "dapo": dapo.spell,
        "gym": gym.spell,
        "exact": exact.spell,
    }
)
"""answer -> a completion that the verifier of that name takes for right, if it can read
the answer at all."""

NEEDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"math": ("math_verify", "math"), "gym": ("reasoning_gym", "gym")}
)
"""The module that a verifier imports, and the extra of ours that brings it."""


def check_verifier(name: str) -> None:
    """ValueError, one line, unless there is a verifier of that name and what it needs
    is installed."""
    if name not in VERIFIERS:
        raise ValueError(f"unknown verifier {name!r}: {near(name, VERIFIERS)}")
    if name not in NEEDS:
        return
    module, extra = NEEDS[name]
    if importlib.util.find_spec(module) is None:
        raise ValueError(
            f"the verifier {name!r} needs {module}: pip install 'entrostat[{extra}]'"
        )
