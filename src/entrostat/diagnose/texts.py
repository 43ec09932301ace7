"""Texts of the tokens and prompts that a diagnosis names.

They are looked up in the dump by a second pass, once the sums say which are needed: to
hold all texts in the first would take as much memory as the dump.
"""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from entrostat import dump
from entrostat.diagnose.plan import Plan, Source
from entrostat.diagnose.types import Key

LONGEST = 200
"""Characters of a text that are kept."""


def read_again(
    source: Source, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches of a file that an attribution has been made of.

    Rows that can't be read are left out in silence: the first pass has told of them, or
    has stopped there.
    """
    return dump.read(source.file, columns, bad=_ignore)


def _ignore(line: str, rows: int) -> None:
    pass


def token_texts(plan: Plan, ids: Collection[int]) -> dict[int, str]:
    """The text of each token id where it is first met; without those that have none.

    Reads no further than it must.
    """
    texts: dict[int, str] = {}
    if not plan.has("text"):
        return texts
    missing = set(ids)
    for source in plan.sources:
        for batch in read_again(source, ["tokens", "text"]):
            if not missing:
                return texts
            tokens = batch.column("tokens").flatten()
            pieces = batch.column("text").flatten()
            # of each id, where it stands first
            ids_here, first = np.unique(tokens, return_index=True)
            wanted = np.isin(ids_here, list(missing))
            for at in first[wanted].tolist():
                texts[tokens[at].as_py()] = cut(pieces[at])
            missing -= texts.keys()
    return texts


def prompts(plan: Plan, keys: Collection[Key]) -> dict[Key, str]:
    """The prompt of each group by (path, step, group); without those that have none."""
    texts: dict[Key, str] = {}
    if not plan.has("group", "prompt"):
        return texts
    missing = set(keys)
    for source in plan.sources:
        for batch in read_again(source, ["group", "prompt"]):
            if not missing:
                return texts
            steps = batch.column("step").to_numpy()
            groups = batch.column("group").to_numpy()
            for key in missing:
                path, step, group = key
                is_its = (steps == step) & (groups == group)
                if path == source.path and is_its.any():
                    row = int(np.argmax(is_its))
                    texts[key] = cut(batch.column("prompt")[row])
            missing -= texts.keys()
    return texts


def escaped(text: str, limit: int = LONGEST) -> str:
    r"""`text` on one line, cut to `limit` characters.

    What a screen would act on, or not show, stands as an escape.

    >>> print(escaped("\x1b[31m a\n\u202e\u2028\\"))
    \x1b[31m a\n\u202e\u2028\\
    """
    shown = ""
    for character in text[:limit]:
        if character == "\\" or _is_odd(character):
            character = character.encode("unicode_escape").decode()
        shown += character
    return shown + "…" if len(text) > limit else shown


def _is_odd(character: str) -> bool:
    """A control, what turns the reading direction, or a line end."""
    category = unicodedata.category(character)
    return category.startswith("C") or category in ("Zl", "Zp")


def cut(text: Any, limit: int = LONGEST) -> str:
    """At most `limit` characters of a string scalar of Arrow's.

    Its bytes need not be UTF-8: what is not becomes U+FFFD.
    """
    # a character has at most 4 bytes, so a long text is not decoded as a whole
    start = bytes(memoryview(text.as_buffer())[: 4 * limit])
    return start.decode("utf-8", "replace")[:limit]
