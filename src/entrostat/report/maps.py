"""Response maps, as a run's response.jsonl records them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from entrostat.report.untrusted import integer, mapping, number, read_steps

MOST_THRESHOLDS = 64
"""Of one side of a map; a map with more is skipped."""
LARGEST_THRESHOLD = 1e3
"""How large a finite one may be; a map with a larger one is skipped."""


@dataclass(frozen=True)
class ResponseMap:
    """What other clip thresholds would have done to entropy in one rollout."""

    lows: tuple[float, ...]
    """Thresholds of the rows, ascending; the last may be inf."""
    highs: tuple[float, ...]
    """Of the columns, likewise."""
    change: tuple[tuple[float | None, ...], ...]
    """Predicted first-order change, (lows, highs), in nats per unit step in logits."""
    low: float | None
    """The threshold in force, a mean over tokens; None where none was finite."""
    high: float | None
    kept: float | None
    """The change under the bounds in force."""
    unclipped: float | None
    """The change had nothing been clipped."""
    tokens: int | None
    """Tokens that the map was made from."""


def read_maps(path: Path, problems: list[str]) -> dict[int, ResponseMap]:
    """The maps of a response.jsonl by step, ascending; none where there is no file."""
    return read_steps(path, _map, problems)


def _map(fields: Mapping[str, Any]) -> ResponseMap | None:
    """The map of a line; None where its grid and its rows do not fit."""
    lows = _thresholds(fields.get("lows"))
    highs = _thresholds(fields.get("highs"))
    rows = fields.get("change")
    if not lows or not highs or not isinstance(rows, list) or len(rows) != len(lows):
        return None
    change = []
    for row in rows:
        if not isinstance(row, list) or len(row) != len(highs):
            return None
        change.append(tuple(map(number, row)))
    in_force = mapping(fields.get("in_force"))
    return ResponseMap(
        lows=lows,
        highs=highs,
        change=tuple(change),
        low=number(in_force.get("low")),
        high=number(in_force.get("high")),
        kept=number(fields.get("predicted")),
        unclipped=number(fields.get("total_unclipped")),
        tokens=integer(fields.get("tokens")),
    )


def _thresholds(values: Any) -> tuple[float, ...]:
    """Ascending numbers, the last of them perhaps "inf"; empty for anything else."""
    if not isinstance(values, list) or not 0 < len(values) <= MOST_THRESHOLDS:
        return ()
    thresholds: list[float] = []
    for value in values:
        threshold = math.inf if value == "inf" else number(value)
        if threshold is None:
            return ()
        if abs(threshold) > LARGEST_THRESHOLD and threshold != math.inf:
            return ()
        thresholds.append(threshold)
    ascending = all(lower < upper for lower, upper in pairwise(thresholds))
    return tuple(thresholds) if ascending else ()
