"""Training problems that occur in a benchmark, found by their text."""

import unicodedata
from collections.abc import Iterable, Mapping

from entrostat.data.columns import Item


def normalised(text: str) -> str:
    r"""A problem's text by which two are taken for the same: its letters and digits, in one case and composition.

    Two problems that differ in signs alone (1 + 1 and 1 - 1) would be one, so the signs of arithmetic stay.

    >>> normalised("What is $\\tfrac{1}{2} + 1$?") == normalised("what is \\tfrac12+1")
    True
    """
    return "".join(
        c
        for c in unicodedata.normalize("NFKC", text).casefold()
        if c.isalnum() or c in "+-*/<>=^!|"
    )


def drop(
    items: Iterable[Item], benchmarks: Mapping[str, Iterable[str]]
) -> tuple[list[Item], dict[str, int]]:
    """The items that come up the first time and in no benchmark, and how many others there were, by why.

    `benchmarks`: the problems of each by its name. The counts have these names, and "repeated" for a problem that an
    item before has.
    """
    found: dict[str, str] = {}
    for name, texts in benchmarks.items():
        for text in texts:
            found.setdefault(normalised(text), name)
    kept: list[Item] = []
    counts = dict.fromkeys(["repeated", *benchmarks], 0)
    seen: set[str] = set()
    for item in items:
        key = normalised(item.problem)
        if key in found:
            counts[found[key]] += 1
        elif key in seen:
            counts["repeated"] += 1
        else:
            seen.add(key)
            kept.append(item)
    return kept, counts
