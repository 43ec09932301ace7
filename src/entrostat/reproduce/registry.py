"""All claims by name, and the choice of some."""

from collections.abc import Sequence

from entrostat.reproduce.claim import Claim
from entrostat.reproduce.claims import all_claims
from entrostat.reproduce.listing import check_names

CLAIMS: dict[str, Claim] = all_claims()


def chosen(names: Sequence[str], *, all_of_them: bool = False) -> list[Claim]:
    """The claims of these names, each once, in the order of the names.

    Raises:
        ValueError: an unknown name, naming near ones; names and `all_of_them` together.
    """
    check_names(names, all_of_them=all_of_them)
    if all_of_them:
        return list(CLAIMS.values())
    return [CLAIMS[name] for name in dict.fromkeys(names)]
