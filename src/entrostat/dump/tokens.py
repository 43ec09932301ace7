"""The lists of a dump's rows as flat arrays: one entry per trained token."""

import numpy as np
import pyarrow as pa
import torch

from entrostat.clip import clip_events
from entrostat.dump.check import flat, offsets
from entrostat.dump.schema import COLUMNS, KEY, read_metadata

BOUNDED = frozenset({"low", "high", "old_logprobs"})
"""Columns that tell, with those that every dump has, which tokens a window of each
token's own ratio clips."""


def per_token(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Every number in `batch` as an array with one entry per trained token.

    They stand in the order of rows and positions.

    Args:
        batch: rows that `read` or `rows` gave.

    Returns:
        The columns of numbers that the rows have, but for mask. What belongs to a
        completion is repeated for each of its tokens; a reward that is null is NaN.
        "row" is the row within the batch, "position" the place within the completion,
        from 0. Where the file has no "clipped" but low, high and old_logprobs, it is
        worked out by the token's own ratio, as `entrostat.clip_events` does; not where
        the file notes another importance_sampling_level. Strings are left out: find
        them by row and position.

    >>> from entrostat import dump
    >>> batch = dump.rows(
    ...     tokens=[[5, 6], [7, 8]],
    ...     mask=[[True, True], [False, True]],
    ...     advantages=[1.0, -1.0],
    ...     logprobs=[[-0.1, -2.0], [-1.0, -0.5]],
    ...     reward=[1.0, 0.0],
    ... )
    >>> flat = per_token(batch)
    >>> flat["reward"].tolist(), flat["position"].tolist()
    ([1.0, 1.0, 0.0], [0, 1, 1])
    """
    starts = offsets(batch.column("mask"))
    trained = flat(batch, "mask")
    row = np.repeat(np.arange(batch.num_rows), np.diff(starts))
    position = np.arange(len(row)) - starts[row]
    values = {"row": row[trained], "position": position[trained]}
    for name in batch.schema.names:
        column = COLUMNS[name]
        if name == "mask" or pa.types.is_string(column.kind):
            continue
        at = trained if column.per_token else values["row"]
        values[name] = flat(batch, name)[at]
    needed = {*BOUNDED, "logprobs", "advantages"}
    can_tell = needed.issubset(values) and _by_token(batch.schema)
    if "clipped" not in values and can_tell:
        values["clipped"] = _clipped(values)
    return values


def _by_token(schema: pa.Schema) -> bool:
    """Whether each token's own ratio is clipped, by the notes of the rows."""
    metadata = schema.metadata or {}
    notes = read_metadata(metadata, "rows", schema.names) if KEY in metadata else {}
    return notes.get("importance_sampling_level", "token") == "token"


def _clipped(values: dict[str, np.ndarray]) -> np.ndarray:
    """The column "clipped": -1 for the low side, 1 for the high side."""

    def as_row(name: str) -> torch.Tensor:
        """(1, n)."""
        return torch.tensor(values[name])[None]

    events = clip_events(
        as_row("logprobs") - as_row("old_logprobs"),
        as_row("advantages"),
        low=as_row("low"),
        high=as_row("high"),
    )
    sides = events.high.to(torch.int8) - events.low.to(torch.int8)
    return sides[0].numpy()
