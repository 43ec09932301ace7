"""The papers' claims, one file each (claims/): a command, a number and a verdict.

[A] is arXiv 2509.26114, [B] arXiv 2602.09782; a claim is called by its paper's letter and a number.
"""

from collections.abc import Sequence

from entrostat.reproduce.claim import Claim, Mode, Result, Verdict
from entrostat.reproduce.claims import (
    a1,
    a2,
    a3,
    a4,
    a5,
    a6,
    a7,
    a8,
    a9,
    b1,
    b2,
    b3,
    b4,
    b5,
    b6,
    b7,
    b8,
    c1,
)
from entrostat.texts import near

_MODULES = (a1, a2, a3, a4, a5, a6, a7, a8, a9, b1, b2, b3, b4, b5, b6, b7, b8, c1)
CLAIMS: dict[str, Claim] = {module.CLAIM.name: module.CLAIM for module in _MODULES}


def chosen(names: Sequence[str], *, all_of_them: bool = False) -> list[Claim]:
    """The claims of these names, each once, in the order of the names.

    Raises:
        ValueError: an unknown name, naming near ones; names and `all_of_them` together.
    """
    if names and all_of_them:
        raise ValueError(
            f"--all is every claim, got {' '.join(names)} too: give one or the other"
        )
    for name in names:
        if name not in CLAIMS:
            raise ValueError(f"unknown claim {name!r}: {near(name, CLAIMS)}")
    return (
        list(CLAIMS.values())
        if all_of_them
        else [CLAIMS[name] for name in dict.fromkeys(names)]
    )


__all__ = ["CLAIMS", "Claim", "Mode", "Result", "Verdict", "chosen"]
