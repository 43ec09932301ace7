"""The responses that a page shows token by token: which, and what is known of each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.packed import (
    CLIP_HIGH,
    CLIP_LOW,
    NUMBERS,
    REGION,
    TRAINED,
    Response,
    TokenTexts,
    packed,
    size_of,
    word_of,
)
from entrostat.diagnose.plan import Plan, Source
from entrostat.diagnose.texts import read_again
from entrostat.diagnose.tokens import HIGH, LOW, Tokens, tokens_of
from entrostat.diagnose.types import Floats, Ints, Json, Key
from entrostat.dump.check import flat, offsets

MOST_TOKENS = 2000
"""Of a response; the rest is cut off."""
MOST_BYTES = 13_500_000
"""Of the packed data; further responses are left out."""
LONGEST_PROMPT = 2000
"""Characters of a prompt's text."""
_DARKEST = 0.98
"""The quantile of a number that gets the darkest shade: the largest would leave the
rest pale."""


def viewer(attribution: Attribution, responses: int) -> Json:
    """At most `responses` responses, of the prompts that moved entropy most.

    JSON-able data for the page:

    texts     [id, text] of each distinct token; text null where there is none
    prompts   largest mover first: path, step, group, text, change (as in `result`), all
              (how many responses it has) and responses: sample, update, reward, tokens
              (before the cut), shown, data (entrostat.diagnose.packed)
    unit      of the changes
    scale     of the shades: entropy, |change| and |ln ratio| at a high quantile
    grouped   whether prompts are groups; otherwise each is a completion
    """
    keys = _chosen(attribution, responses)
    texts = TokenTexts()
    gathered = _gathered(attribution.plan, keys, responses, texts)
    shown = _within_limits(gathered, responses, MOST_BYTES - texts.bytes)
    every: list[Response] = []
    for some in shown.values():
        every += some
    numbers, change = _joined(every)
    unit = _largest(change)
    prompts = []
    for key, some in shown.items():
        if some:
            prompts.append(_prompt(attribution, key, some, unit))
    return {
        "texts": texts.listed(),
        "prompts": prompts,
        "unit": unit,
        "scale": {
            "entropy": _darkest(numbers[NUMBERS.index("entropy")]),
            "change": _darkest(change),
            "ratio": _darkest(numbers[NUMBERS.index("logratio")]),
        },
        "grouped": attribution.plan.has("group"),
    }


def _chosen(attribution: Attribution, responses: int) -> list[Key]:
    """Keys of as many groups, largest mover first, as have that many rows together."""
    moved = np.abs(attribution.groups.kept)
    order = np.argsort(-moved, kind="stable")
    rows = np.cumsum(attribution.rewards[order, 0])
    most = int(np.searchsorted(rows, responses)) + 1
    keys = attribution.groups.keys[order[:most]]
    return [(path, step, unit) for path, step, unit in keys.tolist()]


def _gathered(
    plan: Plan,
    keys: list[Key],
    responses: int,
    texts: TokenTexts,
) -> dict[Key, list[Response]]:
    """The responses of each group, in the order of `keys`."""
    gathered: dict[Key, list[Response]] = {key: [] for key in keys}
    for number in range(len(plan.sources)):
        for key, response in _responses(plan, number, keys, texts):
            # a group may be larger than what is shown at all
            if len(gathered[key]) < responses:
                gathered[key].append(response)
    return gathered


def _responses(
    plan: Plan,
    number: int,
    keys: list[Key],
    texts: TokenTexts,
) -> Iterator[tuple[Key, Response]]:
    """The chosen rows of the file with that number."""
    source = plan.sources[number]
    # what a key begins with, as in Attribution.groups
    unit, place = "sample", number
    if plan.has("group"):
        unit, place = "group", source.path
    mine = [key for key in keys if key[0] == place]
    # all columns are read only of a file that has a chosen row
    if not _has_any(source, unit, mine):
        return
    for batch in read_again(source):
        which = _which(batch, unit, mine)
        chosen = which >= 0
        if chosen.any():
            some = batch.filter(pa.array(chosen))
            responses = _of_rows(some, plan, texts)
            for i, response in zip(which[chosen], responses, strict=True):
                yield mine[i], response


def _has_any(
    source: Source,
    unit: str,
    keys: list[Key],
) -> bool:
    """Whether the file has a row of any of these groups."""
    wanted = {(step, number) for _, step, number in keys}
    for batch in read_again(source, [unit]):
        steps = batch.column("step").to_pylist()
        units = batch.column(unit).to_pylist()
        if not wanted.isdisjoint(zip(steps, units, strict=True)):
            return True
    return False


def _which(
    batch: pa.RecordBatch,
    unit: str,
    keys: list[Key],
) -> Ints:
    """Of each row the place of its group in `keys`, or -1."""
    steps = batch.column("step").to_numpy()
    units = batch.column(unit).to_numpy()
    which = np.full(batch.num_rows, -1)
    for i, (_, step, number) in enumerate(keys):
        which[(steps == step) & (units == number)] = i
    return which


def _of_rows(
    batch: pa.RecordBatch,
    plan: Plan,
    texts: TokenTexts,
) -> Iterator[Response]:
    """A response per row, with what is known of its trained tokens."""
    starts = offsets(batch.column("mask"))
    tokens = tokens_of(batch, plan)
    at = starts[tokens.row] + tokens.position
    size = int(starts[-1])
    change = np.full(size, np.nan)
    if plan.measure is not None:
        change[at] = tokens.change
    numbers = _numbers(batch, plan, tokens, at, size)
    flags = np.zeros(size, np.int64)
    flags[at] = TRAINED + REGION * tokens.region
    flags[at[tokens.event == LOW]] += CLIP_LOW
    flags[at[tokens.event == HIGH]] += CLIP_HIGH
    ids = flat(batch, "tokens").astype(np.int64)
    words = batch.column("text").flatten() if plan.has("text") else None
    samples = batch.column("sample").to_pylist()
    updates = _values(batch, plan, "update")
    rewards = _values(batch, plan, "reward")
    for row in range(batch.num_rows):
        start, end = starts[row : row + 2].tolist()
        shown = slice(start, min(end, start + MOST_TOKENS))
        shown_words = None if words is None else words[shown]
        yield Response(
            sample=samples[row],
            update=updates[row],
            reward=rewards[row],
            prompt=_prompt_text(batch, plan, row),
            tokens=end - start,
            text=texts.places(ids[shown], shown_words),
            change=change[shown],
            numbers=numbers[:, shown],
            flags=flags[shown],
        )


def _numbers(
    batch: pa.RecordBatch,
    plan: Plan,
    tokens: Tokens,
    at: Ints,
    size: int,
) -> np.ndarray:
    """NUMBERS of the trained tokens, which stand `at` these places; NaN elsewhere."""
    shape = (len(NUMBERS), size)
    numbers = np.full(shape, np.nan, np.float32)
    for i, name in enumerate(NUMBERS):
        if name == "logratio":
            if tokens.logratio is not None:
                numbers[i, at] = tokens.logratio
        elif plan.has(name):
            numbers[i, at] = flat(batch, name)[at]
    return numbers


def _values(
    batch: pa.RecordBatch,
    plan: Plan,
    name: str,
) -> list[Any]:
    """Of each row; None where not all files have the column."""
    if not plan.has(name):
        return [None] * batch.num_rows
    return batch.column(name).to_pylist()


def _prompt_text(
    batch: pa.RecordBatch,
    plan: Plan,
    row: int,
) -> str | None:
    if not plan.has("prompt"):
        return None
    # its bytes need not be text, so Arrow can't make a string of it
    prompt = batch.column("prompt")[row]
    return word_of(prompt, LONGEST_PROMPT)


def _within_limits(
    gathered: dict[Key, list[Response]],
    responses: int,
    size: int,
) -> dict[Key, list[Response]]:
    """The first responses in the order of prompts, of no more than `size` bytes."""
    kept: dict[Key, list[Response]] = {}
    left = responses
    for key, some in gathered.items():
        kept[key] = []
        for response in sorted(some, key=_order):
            size -= size_of(response)
            if left > 0 and size > 0:
                kept[key].append(response)
            left -= 1
    return kept


def _order(response: Response) -> tuple[int, int]:
    return response.sample, response.update or 0


def _prompt(
    attribution: Attribution,
    key: Key,
    responses: list[Response],
    unit: float,
) -> Json:
    differs = attribution.groups.keys != np.array(key)
    at = int(np.argmin(differs.any(axis=1)))
    change = None
    if attribution.plan.measure is not None:
        change = float(attribution.groups.kept[at]) / attribution.tokens
    path, step, group = key
    return {
        "path": path,
        "step": step,
        "group": group,
        "text": responses[0].prompt,
        "change": change,
        "all": int(attribution.rewards[at, 0]),
        "responses": [packed(response, unit) for response in responses],
    }


def _joined(responses: list[Response]) -> tuple[np.ndarray, Floats]:
    """NUMBERS, (NUMBERS, tokens), and change, (tokens,), of all responses."""
    numbers = [np.zeros((len(NUMBERS), 0))]
    change = [np.zeros(0)]
    for response in responses:
        numbers.append(response.numbers)
        change.append(response.change)
    return np.concatenate(numbers, axis=1), np.concatenate(change)


def _largest(values: Floats) -> float:
    """The largest size of a known number; 1 where all are 0 or unknown."""
    sizes = np.abs(values)
    return float(np.nanmax(sizes, initial=0.0)) or 1.0


def _darkest(values: np.ndarray) -> float:
    """The size that gets the darkest shade."""
    # the 0 in front defines the quantile of no number at all
    sizes = np.abs(np.append(0.0, values))
    finite = sizes[np.isfinite(sizes)]
    return float(np.quantile(finite, _DARKEST)) or _largest(finite)
