"""The lists of a dump's rows as flat arrays: one entry for each trained token."""

import numpy as np
import pyarrow as pa
import torch

from entrostat.clip import clip_events
from entrostat.dump.check import offsets
from entrostat.dump.schema import COLUMNS, KEY, read_metadata

BOUNDED = frozenset({"low", "high", "old_logprobs"})
"""Columns that tell, with those that every dump has, which tokens a window of each token's own ratio clips."""


def per_token(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Every number in `batch` as an array with one entry a trained token, in the order of rows and positions.

    Args:
        batch: rows that `read` or `rows` gave.

    Returns:
        The columns of numbers that the rows have, but for mask; what belongs to a completion is repeated for each of
        its tokens (a reward that is null is NaN). Beside them "row", the row within the batch, and "position" within
        the completion, from 0. "clipped" is worked out where the file has none but low, high and old_logprobs: by the
        token's own ratio, as `entrostat.clip_events`; not where the file notes another importance_sampling_level.
        Strings are left out: find them by row and position.

    >>> from entrostat import dump
    >>> batch = dump.rows(tokens=[[5, 6], [7, 8]], mask=[[True, True], [False, True]], advantages=[1.0, -1.0],
    ...                   logprobs=[[-0.1, -2.0], [-1.0, -0.5]], reward=[1.0, 0.0])
    >>> per_token(batch)["reward"].tolist(), per_token(batch)["position"].tolist()
    ([1.0, 1.0, 0.0], [0, 1, 1])
    """
    lists = batch.column("mask")
    starts, trained = offsets(lists), lists.flatten().to_numpy(zero_copy_only=False)
    lengths = np.diff(starts)
    row = np.repeat(np.arange(batch.num_rows), lengths)
    out = {
        "row": row[trained],
        "position": (np.arange(len(row)) - starts[row])[trained],
    }
    for name in batch.schema.names:
        if name == "mask" or pa.types.is_string(COLUMNS[name].kind):
            continue
        column = batch.column(name)
        if COLUMNS[name].per_token:
            out[name] = column.flatten().to_numpy(zero_copy_only=False)[trained]
        else:
            out[name] = column.to_numpy(zero_copy_only=False)[out["row"]]
    if (
        "clipped" not in out
        and _by_token(batch.schema)
        and out.keys() >= {*BOUNDED, "logprobs", "advantages"}
    ):
        out["clipped"] = _clipped(out)
    return out


def _by_token(schema: pa.Schema) -> bool:
    """Whether each token's own ratio is clipped, as far as the notes in a file's or a batch's schema say."""
    found = schema.metadata or {}
    noted = read_metadata(found, "rows") if KEY in found else {}
    return noted.get("importance_sampling_level", "token") == "token"


def _clipped(values: dict[str, np.ndarray]) -> np.ndarray:
    old, new, advantages, low, high = (
        torch.tensor(values[name])[None]
        for name in ("old_logprobs", "logprobs", "advantages", "low", "high")
    )
    events = clip_events(new - old, advantages, low=low, high=high)
    return (events.high.to(torch.int8) - events.low.to(torch.int8))[0].numpy()
