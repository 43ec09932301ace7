"""Predicted and measured change of entropy side by side, where entropy is known at a rollout and at the next."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entrostat.diagnose.attribution import Attribution
from entrostat.estimate import Interval

_LONGEST_LINE = 2**20
FEWEST = 4
"""Rollouts that a correlation needs to have an interval, and steps that the noise between them needs."""


@dataclass(frozen=True)
class Point:
    """One rollout that was dumped, with the next one's entropy known."""

    path: int
    step: int
    entropy: float
    """Mean over trained tokens before its updates, nats."""
    measured: float
    """The next rollout's entropy less this one's, nats."""
    predicted: float
    """Nats per unit step per trained token."""


@dataclass(frozen=True)
class Series:
    """What was measured."""

    points: list[Point]
    correlation: Interval | None
    """Pearson's, with Fisher's interval; None for under FEWEST points, or where one side does not vary."""
    first: tuple[int, float] | None
    """The earliest step whose entropy is known, and it; None where several paths are given, or no step."""
    last: tuple[int, float] | None
    noise: float | None
    """Standard deviation of the change from one of these steps to the next, nats; None for under FEWEST steps."""
    from_metrics: bool
    """Entropy is that of metrics.jsonl; otherwise the dump's own."""


def series(found: Attribution, paths: Sequence[Path | str]) -> Series:
    """The points of all dumped rollouts. Entropy comes from a run's metrics.jsonl, or else from the dump itself."""
    logged = [of_run(Path(path)) for path in paths]
    known = {i: entropies for i, entropies in enumerate(logged) if entropies}
    with np.errstate(invalid="ignore", divide="ignore"):
        own = found.entropy[:, 0] / found.entropy[:, 1]
    for (path, step), value in zip(
        found.steps.keys.tolist(), own.tolist(), strict=True
    ):
        if not logged[path] and math.isfinite(value):
            known.setdefault(path, {})[step] = value
    predicted = found.steps.change[:, 0] / found.steps.tokens.sum(1)
    points = []
    if found.plan.measure is not None:
        for (path, step), value in zip(
            found.steps.keys.tolist(), predicted.tolist(), strict=True
        ):
            at = known.get(path, {})
            if step in at and step + 1 in at:
                points.append(
                    Point(path, step, at[step], at[step + 1] - at[step], value)
                )
    alone = known.get(0, {}) if len(paths) == 1 else {}
    steps = found.steps.keys[:, 1].tolist()
    within = sorted(
        (step, value)
        for step, value in alone.items()
        if min(steps) <= step <= max(steps) + 1
    )
    first, last = (within[0], within[-1]) if len(within) > 1 else (None, None)
    return Series(
        points,
        correlation(points),
        first,
        last,
        _noise([value for _, value in within]),
        any(logged),
    )


def _noise(entropies: Sequence[float]) -> float | None:
    return float(np.diff(entropies).std(ddof=1)) if len(entropies) >= FEWEST else None


def correlation(points: Sequence[Point]) -> Interval | None:
    """Pearson's correlation of predicted and measured change, with Fisher's 95% interval (tanh of atanh r +- 1.96 se).

    Rollouts are taken as independent, which makes the interval somewhat too narrow: two neighbours share an entropy.
    """
    if len(points) < FEWEST:
        return None
    predicted, measured = (
        [getattr(point, name) for point in points] for name in ("predicted", "measured")
    )
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None
    r = float(np.clip(np.corrcoef(predicted, measured)[0, 1], -1, 1))
    if abs(r) == 1:
        return Interval(r, r, r)
    half = 1.959964 / math.sqrt(len(points) - 3)
    return Interval(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


def of_run(path: Path) -> dict[int, float]:
    """Entropy by step from the metrics.jsonl of the run that `path` is, or is in; {} where there is none."""
    for folder in (path, path.parent, path.parent.parent):
        if (file := folder / "metrics.jsonl").is_file():
            # a folder above counts only for a dump where a run keeps its own
            return (
                _entropies(file) if folder == path or _is_dump_of(path, folder) else {}
            )
    return {}


def _is_dump_of(path: Path, run: Path) -> bool:
    return path == run / "dump" or path.parent == run / "dump"


def _entropies(file: Path) -> dict[int, float]:
    out = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(_LONGEST_LINE):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            step, entropy = (
                record.get(name) if isinstance(record, dict) else None
                for name in ("step", "entropy")
            )
            if type(step) is int and type(entropy) is float and math.isfinite(entropy):
                out[step] = entropy
    return out
