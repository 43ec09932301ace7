"""The sums over trained tokens that an engine's metrics are made of: their names, their
order, and their means.

meter.py (TRL and the fast engine) and verl/metrics.py count in different ways, since they
are given different things at a different price. What they count is the same, and is said
here. Everything stays a sum until it is logged, so that micro-batches and ranks of any
size weigh by their tokens.
"""

from collections.abc import Mapping

from entrostat.entropy import Region

REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
"""The order of the four sums of a block."""


def region_names(what: str) -> list[str]:
    """The names of one block: E1/what to E4/what."""
    return [f"{region.name}/{what}" for region in REGIONS]


def change_names(change: str) -> list[str]:
    """The names of the two blocks of entropy changes: that of tokens which the clip let
    through, and what the clip held back."""
    return region_names(f"{change}_kept") + region_names(f"{change}_clipped")


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """Every sum over `tokens`, the number of trained tokens: shares, and changes per
    token. 0 throughout where no token was trained on."""
    # a sum of counts is a fraction where a trainer has averaged it over ranks
    tokens = sums["tokens"] or 1.0
    return {name: total / tokens for name, total in sums.items() if name != "tokens"}
