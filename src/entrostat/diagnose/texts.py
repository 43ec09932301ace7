"""Texts of the tokens and prompts that a diagnosis names, looked up in the dump once the sums say which."""

import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from entrostat import dump
from entrostat.diagnose.plan import Plan

LONGEST = 200
"""Characters of a text that are kept."""

Key = tuple[int, int, int]


def token_texts(plan: Plan, ids: Collection[int]) -> dict[int, str]:
    """The text of each token id, where it is first met; without those that have none. Reads no further than it must."""
    if not plan.has("text"):
        return {}
    missing, out = set(ids), {}
    for source in plan.sources:
        for batch in dump.read(source.file, ["tokens", "text"], bad=_ignore):
            if not missing:
                return out
            if not {"tokens", "text"} <= set(batch.schema.names):
                break
            tokens, texts = (
                batch.column("tokens").flatten(),
                batch.column("text").flatten(),
            )
            flat = tokens.to_numpy(zero_copy_only=False)
            for token in sorted(missing & set(np.unique(flat).tolist())):
                out[token] = cut(texts[int(np.flatnonzero(flat == token)[0])])
            missing -= out.keys()
    return out


def prompts(plan: Plan, keys: Collection[Sequence[int]]) -> dict[Key, str]:
    """The prompt of each group, by (path, step, group)."""
    if not plan.has("group", "prompt"):
        return {}
    missing, out = {(key[0], key[1], key[2]) for key in keys}, {}
    for source in plan.sources:
        for batch in dump.read(source.file, ["group", "prompt"], bad=_ignore):
            if not missing:
                return out
            step, group = (
                batch.column("step").to_numpy(),
                batch.column("group").to_numpy(),
            )
            for key in sorted(missing):
                at = np.flatnonzero((step == key[1]) & (group == key[2]))
                if len(at) and key[0] == source.path:
                    out[key] = cut(batch.column("prompt")[int(at[0])])
            missing -= out.keys()
    return out


def escaped(text: str, limit: int = LONGEST) -> str:
    r"""`text` on one line, cut to `limit` characters, with what a screen would act on, or not show, as an escape.

    >>> print(escaped("\x1b[31m a\n\u202e\u2028\\"))
    \x1b[31m a\n\u202e\u2028\\
    """
    out = []
    for c in text[:limit]:
        odd = unicodedata.category(c)[0] == "C" or unicodedata.category(c) in (
            "Zl",
            "Zp",
        )
        out.append(c.encode("unicode_escape").decode() if odd or c == "\\" else c)
    return "".join(out) + ("…" if len(text) > limit else "")


def cut(text: Any, limit: int = LONGEST) -> str:
    """At most `limit` characters of a string scalar of Arrow's, whose bytes need not be UTF-8: U+FFFD for those."""
    return bytes(memoryview(text.as_buffer())[: 4 * limit]).decode("utf-8", "replace")[
        :limit
    ]


def _ignore(line: str, rows: int) -> None:
    """What can't be read has been told, or has stopped the diagnosis, in its first pass."""
