"""`entrostat reproduce`: its options, and what it answers."""

import dataclasses
from typing import Any

from tyro.conf import Positional

from entrostat.reproduce import CLAIMS, Mode, chosen
from entrostat.reproduce.show import listing, results


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Checks claims of arXiv 2509.26114 and 2602.09782; without a name it lists them. Exit 1 when one fails."""

    claims: Positional[tuple[str, ...]] = ()
    """Names of claims."""
    all: bool = False
    """Check every claim."""
    seeds: int = 8
    """Repetitions of each check: seeds 0, 1, ..."""
    json: bool = False
    """Print the result as JSON."""


def answer(options: Reproduce) -> tuple[list[dict[str, Any]], Any, int]:
    """JSON-able rows, the same as a table, and the exit code: 1 when a claim fails.

    Raises ValueError for an unknown claim, names beside --all, and too few seeds.
    """
    claims, mode = chosen(options.claims, all_of_them=options.all), Mode(options.seeds)
    if not claims:
        return [claim.described() for claim in CLAIMS.values()], listing(CLAIMS.values()), 0
    found = [(claim, claim.run(mode)) for claim in claims]
    rows = [claim.report(result) for claim, result in found]
    return rows, results(found), int(any(result.verdict == "fails" for _, result in found))
