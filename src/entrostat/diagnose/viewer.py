"""The responses that a page shows token by token, packed: 33 bytes a token in base64, decoded where one is opened.

The tokens of a response are one base64 string, little-endian, column after column of n entries:

    uint32    its place in `texts`
    float32   change over `unit`
    float16   ln p, entropy, ln of the ratio, advantage, low, high; NaN: not known
    uint8     flags: 1 trained on, 2 clip-low, 4 clip-high, 8 times the region

Half precision has three digits, which is what is shown of them.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from entrostat import dump
from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.plan import Plan
from entrostat.diagnose.sums import Floats, Ints
from entrostat.diagnose.texts import cut, escaped
from entrostat.diagnose.tokens import HIGH, LOW, tokens_of
from entrostat.dump.check import offsets

MOST_TOKENS = 2000
"""Of a response; the rest is cut off."""
MOST_BYTES = 13_500_000
"""Of the packed data; further responses are left out."""
LONGEST_TOKEN, LONGEST_PROMPT = 60, 2000
_HALVES = ("logprobs", "entropy", "logratio", "advantages", "low", "high")
_BYTES = 4 + 4 + 2 * len(_HALVES) + 1

Key = tuple[int, int, int]


@dataclass
class Response:
    """One row of a dump; arrays have an entry a token, those that are trained on or not, at most MOST_TOKENS."""

    sample: int
    update: int | None
    reward: float | None
    tokens: int
    """How many there were before the cut."""
    prompt: str | None
    text: Ints
    change: Floats
    numbers: np.ndarray
    """(_HALVES, tokens) float32."""
    flags: Ints


class Texts:
    """Distinct tokens, by id and text."""

    def __init__(self):
        self.at: dict[tuple[int, str | None], int] = {}
        self.bytes = 0

    def places(self, ids: Ints, texts: pa.Array | None) -> Ints:
        """The place of each token in `listed`, those that are new at its end."""
        if texts is None:
            codes, words = np.zeros(len(ids), np.int64), (None,)
        else:
            encoded = texts.dictionary_encode()
            codes, words = (
                encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
                encoded.dictionary,
            )
        found, which = np.unique(
            np.stack([ids, codes], axis=1), axis=0, return_inverse=True
        )
        places = [self._place(int(i), _word(words[int(code)])) for i, code in found]
        return np.array(places, np.int64)[which.reshape(-1)]

    def _place(self, token: int, text: str | None) -> int:
        if (token, text) not in self.at:
            self.bytes += 20 + 6 * len(text or "")
        return self.at.setdefault((token, text), len(self.at))

    def listed(self) -> list[tuple[int, str | None]]:
        return list(self.at)


def viewer(found: Attribution, responses: int) -> dict[str, Any]:
    """At most `responses` responses, of the prompts that moved entropy most, as JSON-able data for the page.

    texts     [id, text] of each distinct token; text null where there is none
    prompts   largest mover first: path, step, group, text, change (as in `result`), all (how many responses it has) and
              responses: sample, update, reward, tokens (before the cut), shown, data
    unit      of the changes; scale: of the shades, the 98th percentile of entropy, |change| and |ln ratio|
    grouped   whether prompts are groups; otherwise each is a completion
    """
    keys, texts = _chosen(found, responses), Texts()
    gathered: dict[Key, list[Response]] = {key: [] for key in keys}
    for number in range(len(found.plan.sources)):
        for key, response in _responses(found.plan, number, keys, texts):
            if len(gathered[key]) < responses:
                gathered[key].append(response)
    kept = _within_limits(gathered, responses, MOST_BYTES - texts.bytes)
    every = [response for each in kept.values() for response in each]
    unit = (
        max(
            [
                float(np.nanmax(np.abs(r.change), initial=0.0))
                for r in every
                if r.change.size
            ],
            default=0.0,
        )
        or 1.0
    )
    return {
        "texts": texts.listed(),
        "prompts": [
            _prompt(found, key, some, unit) for key, some in kept.items() if some
        ],
        "unit": unit,
        "scale": _scale(every),
        "grouped": found.plan.has("group"),
    }


def _chosen(found: Attribution, responses: int) -> list[Key]:
    """Keys of groups, the largest mover first, that have that many rows between them."""
    order = np.argsort(-np.abs(found.groups.change[:, 0]), kind="stable")
    rows = np.cumsum(found.rewards[order, 0])
    most = int(np.searchsorted(rows, responses)) + 1
    return [
        (path, step, unit)
        for path, step, unit in found.groups.keys[order[:most]].tolist()
    ]


def _responses(
    plan: Plan, number: int, keys: list[Key], texts: Texts
) -> Iterator[tuple[Key, Response]]:
    """The chosen rows of a file; one without any is read no further than its groups."""
    source, unit = plan.sources[number], "group" if plan.has("group") else "sample"
    mine = [
        key for key in keys if key[0] == (source.path if unit == "group" else number)
    ]
    if not any(
        (_which(batch, unit, mine) >= 0).any()
        for batch in dump.read(source.file, [unit], bad=_ignore)
    ):
        return
    for batch in dump.read(source.file, bad=_ignore):
        which = _which(batch, unit, mine)
        if (which >= 0).any():
            some = batch.filter(pa.array(which >= 0))
            yield from zip(
                (mine[i] for i in which[which >= 0]),
                _of_rows(some, plan, texts),
                strict=True,
            )


def _which(batch: pa.RecordBatch, unit: str, keys: list[Key]) -> Ints:
    """Of each row the place of its group in `keys`, or -1."""
    step, group = batch.column("step").to_numpy(), batch.column(unit).to_numpy()
    out = np.full(batch.num_rows, -1)
    for i, key in enumerate(keys):
        out[(step == key[1]) & (group == key[2])] = i
    return out


def _of_rows(batch: pa.RecordBatch, plan: Plan, texts: Texts) -> Iterator[Response]:
    starts = offsets(batch.column("mask"))
    tokens = tokens_of(batch, plan)
    at, n = starts[tokens.row] + tokens.position, int(starts[-1])
    change, numbers, flags = (
        np.full(n, np.nan),
        np.full((len(_HALVES), n), np.nan, np.float32),
        np.zeros(n, np.int64),
    )
    change[at] = np.nan if tokens.change is None else tokens.change
    for i, name in enumerate(_HALVES):
        if name == "logratio":
            numbers[i, at] = np.nan if tokens.logratio is None else tokens.logratio
        elif plan.has(name):
            numbers[i, at] = (
                batch.column(name).flatten().to_numpy(zero_copy_only=False)[at]
            )
    region = np.zeros_like(at) if tokens.region is None else tokens.region
    flags[at] = 1 + 2 * (tokens.event == LOW) + 4 * (tokens.event == HIGH) + 8 * region
    ids = (
        batch.column("tokens").flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    )
    words = batch.column("text").flatten() if plan.has("text") else None
    for row in range(batch.num_rows):
        start, end = int(starts[row]), int(starts[row + 1])
        shown = slice(start, min(end, start + MOST_TOKENS))
        text = texts.places(ids[shown], None if words is None else words[shown])
        yield Response(
            sample=batch.column("sample")[row].as_py(),
            update=batch.column("update")[row].as_py() if plan.has("update") else None,
            reward=batch.column("reward")[row].as_py() if plan.has("reward") else None,
            tokens=end - start,
            prompt=_word(batch.column("prompt")[row], LONGEST_PROMPT)
            if plan.has("prompt")
            else None,
            text=text,
            change=change[shown],
            numbers=numbers[:, shown],
            flags=flags[shown],
        )


def _within_limits(
    gathered: dict[Key, list[Response]], responses: int, size: int
) -> dict[Key, list[Response]]:
    """The first `responses` responses in the order of prompts, of no more than `size` bytes."""
    kept: dict[Key, list[Response]] = {}
    for key, some in gathered.items():
        kept[key] = []
        for response in sorted(some, key=lambda each: (each.sample, each.update or 0)):
            size -= len(response.flags) * _BYTES * 4 // 3 + 100
            if responses > 0 and size > 0:
                kept[key].append(response)
            responses -= 1
    return kept


def _prompt(
    found: Attribution, key: Key, responses: list[Response], unit: float
) -> dict[str, Any]:
    at = int(np.flatnonzero((found.groups.keys == np.array(key)).all(1))[0])
    return {
        "path": key[0],
        "step": key[1],
        "group": key[2],
        "text": responses[0].prompt,
        "change": None
        if found.plan.measure is None
        else float(found.groups.change[at, 0]) / found.tokens,
        "all": int(found.rewards[at, 0]),
        "responses": [_packed(response, unit) for response in responses],
    }


def _packed(response: Response, unit: float) -> dict[str, Any]:
    with np.errstate(over="ignore"):  # what is over 65504 becomes inf
        halves = response.numbers.astype("<f2").tobytes()
    change = (response.change / unit).astype("<f4").tobytes()
    data = (
        response.text.astype("<u4").tobytes()
        + change
        + halves
        + response.flags.astype("u1").tobytes()
    )
    return {
        "sample": response.sample,
        "update": response.update,
        "reward": response.reward,
        "tokens": response.tokens,
        "shown": len(response.flags),
        "data": base64.b64encode(data).decode("ascii"),
    }


def _scale(responses: list[Response]) -> dict[str, float]:
    def most(parts: list[np.ndarray]) -> float:
        values = np.abs(np.concatenate([np.zeros(1), *parts]))
        values = values[np.isfinite(values)]
        return float(np.quantile(values, 0.98)) or float(values.max()) or 1.0

    numbers = {
        name: [r.numbers[i] for r in responses] for i, name in enumerate(_HALVES)
    }
    change = most([r.change for r in responses])
    return {
        "entropy": most(numbers["entropy"]),
        "change": change,
        "ratio": most(numbers["logratio"]),
    }


def _word(text: pa.Scalar | None, limit: int = LONGEST_TOKEN) -> str | None:
    """The escaped start of a string of Arrow's."""
    return None if text is None else escaped(cut(text, limit + 1), limit)


def _ignore(line: str, rows: int) -> None:
    """What can't be read has been told, or has stopped the diagnosis, when its sums were made."""
