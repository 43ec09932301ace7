"""Training problems that occur in a benchmark, found by their text."""

import unicodedata
from collections.abc import Iterable, Mapping

from entrostat.data.columns import Item

SIGNS = "+-*/<>=^!|"
"""Signs that tell two problems apart: without them 1 + 1 and 1 - 1 would be one."""


def normalised(text: str) -> str:
    r"""A problem's text by which two are taken for the same: its letters, digits and
    `SIGNS`, in one case and composition.

    >>> normalised("What is $\\tfrac{1}{2} + 1$?") == normalised("what is \\tfrac12+1")
    True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum() or c in SIGNS)


def drop(
    items: Iterable[Item], benchmarks: Mapping[str, Iterable[str]]
) -> tuple[list[Item], dict[str, int]]:
    """The items that come up for the first time and are in no benchmark, and how many
    were dropped for each reason.

    `benchmarks`: the problems of each by its name. The counts have these names, and
    "repeated" for a problem that an earlier item has.
    """
    benchmark_of: dict[str, str] = {}
    for name, texts in benchmarks.items():
        for text in texts:
            benchmark_of.setdefault(normalised(text), name)
    kept: dict[str, Item] = {}
    counts = dict.fromkeys(["repeated", *benchmarks], 0)
    for item in items:
        key = normalised(item.problem)
        if key in benchmark_of:
            counts[benchmark_of[key]] += 1
        elif key in kept:
            counts["repeated"] += 1
        else:
            kept[key] = item
    return list(kept.values()), counts
