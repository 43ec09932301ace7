"""One file per claim. A new file in this folder is a new claim: nothing lists them.

A claim's name is the letter of its paper (a: arXiv 2509.26114, b: arXiv 2602.09782,
c: neither) and a number; its file has that name. The parts of a file, in this order:

1. the docstring: what the paper says, and how it is measured here;
2. the constants, each with its reason; SCALE is what the lab lacks of the paper's set-up;
3. the jobs: the runs or measurements that the claim stands on;
4. `judge`: from their records to parts, each with a verdict, and to other numbers;
5. what `judge` alone uses;
6. CLAIM: the texts, written before the runs, with `jobs` and `judge`.

A new file's first result comes from `entrostat reproduce NAME --out
docs/results/reproduce`, the page from `make claims`.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrostat.reproduce.claim import Claim


def claim_names() -> list[str]:
    """a1, a2, ..., b1, ..., c1. No file is imported."""
    return sorted((file.name for file in pkgutil.iter_modules(__path__)), key=_place)


def all_claims() -> "dict[str, Claim]":
    """The claims of all files, by name."""
    claims = {}
    for name in claim_names():
        module = importlib.import_module(f"{__name__}.{name}")
        claims[name] = module.CLAIM
    return claims


def _place(name: str) -> tuple[str, int]:
    """The paper's letter, then the number as a number: a10 comes after a9."""
    return name[0], int(name[1:])
