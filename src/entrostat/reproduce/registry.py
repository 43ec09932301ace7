"""All claims by name, and the choice of some."""

from collections.abc import Sequence

from entrostat.reproduce.claim import Claim
from entrostat.reproduce.claims import all_claims
from entrostat.texts import near

CLAIMS: dict[str, Claim] = all_claims()


def chosen(names: Sequence[str], *, all_of_them: bool = False) -> list[Claim]:
    """The claims of these names, each once, in the order of the names.

    Raises:
        ValueError: an unknown name, naming near ones; names and `all_of_them` together.
    """
    if names and all_of_them:
        raise ValueError(
            f"--all is every claim, got {' '.join(names)} too: give one or the other"
        )
    if all_of_them:
        return list(CLAIMS.values())
    for name in names:
        if name not in CLAIMS:
            raise ValueError(f"unknown claim {name!r}: {near(name, CLAIMS)}")
    return [CLAIMS[name] for name in dict.fromkeys(names)]
