"""The tokens of a response as one base64 string, which page.js decodes.

Little-endian, column after column of n entries:

    uint32    place of the token's id and text in `TokenTexts.listed`
    float32   change over the page's unit
    float16   NUMBERS in their order; NaN: not known
    uint8     flags: 1 trained on, 2 clip-low, 4 clip-high, 8 times the region

Half precision has three digits, which is what the page shows of these numbers.
"""

import base64
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from entrostat.diagnose.texts import cut, escaped
from entrostat.diagnose.types import Floats, Ints, Json

NUMBERS = ("logprobs", "entropy", "logratio", "advantages", "low", "high")
BYTES = 4 + 4 + 2 * len(NUMBERS) + 1
"""Bytes per token before base64."""
TRAINED, CLIP_LOW, CLIP_HIGH, REGION = 1, 2, 4, 8
Token = tuple[int, str | None]
"""Its id and its text, where the dump has it."""
LONGEST_TOKEN = 60
"""Characters of a token's text."""


@dataclass
class Response:
    """One row of a dump. Arrays have an entry per token, trained on or not."""

    sample: int
    update: int | None
    reward: float | None
    prompt: str | None
    tokens: int
    """How many there were before the cut."""
    text: Ints
    """Places in `TokenTexts.listed`."""
    change: Floats
    numbers: np.ndarray
    """(NUMBERS, tokens) float32."""
    flags: Ints

    @property
    def shown(self) -> int:
        """Tokens after the cut."""
        return len(self.flags)


class TokenTexts:
    """Distinct tokens, by id and text: each text stands once in the page."""

    def __init__(self):
        self._places: dict[Token, int] = {}
        self.bytes = 0
        """About what `listed` takes in the page's JSON."""

    def places(self, ids: Ints, texts: pa.Array | None) -> Ints:
        """The place of each token in `listed`; new ones are put at its end."""
        if texts is None:
            codes = np.zeros(len(ids), np.int64)
            words = [None]
        else:
            encoded = texts.dictionary_encode()
            codes = encoded.indices.to_numpy(zero_copy_only=False)
            words = [word_of(text, LONGEST_TOKEN) for text in encoded.dictionary]
        pairs, which = np.unique(
            np.column_stack((ids, codes)), axis=0, return_inverse=True
        )
        places = []
        for token, code in pairs.tolist():
            places.append(self._place(token, words[code]))
        # numpy 2.0 alone gives `which` a second axis
        return np.array(places, np.int64)[which.reshape(-1)]

    def _place(self, token: int, text: str | None) -> int:
        key = (token, text)
        if key not in self._places:
            self._places[key] = len(self._places)
            # brackets, quotes and the id; up to six for a character such as \u003c
            self.bytes += 20 + 6 * len(text or "")
        return self._places[key]

    def listed(self) -> list[Token]:
        return list(self._places)


def word_of(text: pa.Scalar, limit: int) -> str:
    """The escaped start of a string of Arrow's."""
    # one more than the limit, so that `escaped` marks the cut
    return escaped(cut(text, limit + 1), limit)


def size_of(response: Response) -> int:
    """About how many bytes it takes in the page."""
    around_the_data = 100
    return response.shown * BYTES * 4 // 3 + around_the_data


def packed(response: Response, unit: float) -> Json:
    """The response for the page.

    Args:
        unit: what changes are divided by.
    """
    with np.errstate(over="ignore"):  # over 65504 a half is inf
        halves = response.numbers.astype("<f2")
    columns = (
        response.text.astype("<u4"),
        (response.change / unit).astype("<f4"),
        halves,
        response.flags.astype("u1"),
    )
    data = b"".join(column.tobytes() for column in columns)
    return {
        "sample": response.sample,
        "update": response.update,
        "reward": response.reward,
        "tokens": response.tokens,
        "shown": response.shown,
        "data": base64.b64encode(data).decode("ascii"),
    }
