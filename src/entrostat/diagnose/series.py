"""Predicted and measured change of entropy side by side.

A rollout is measured where entropy is known at it and at the next one.
"""

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
"""Rollouts that a correlation needs to have an interval, and steps that the noise
between them needs."""
_NORMAL_97_5 = 1.959964
"""97.5% point of the normal distribution, for a 95% interval."""

EntropyByStep = dict[int, float]


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
    """Pearson's, with Fisher's interval. None for under FEWEST points, or where one
    side does not vary."""
    first: tuple[int, float] | None
    """The earliest step whose entropy is known, and that entropy. None where several
    paths are given, or there are not two such steps."""
    last: tuple[int, float] | None
    """The latest."""
    noise: float | None
    """Standard deviation of the change from one of these steps to the next, nats. None
    for under FEWEST steps."""
    from_metrics: bool
    """Entropy is that of metrics.jsonl; otherwise the dump's own."""


def series(attribution: Attribution, paths: Sequence[Path | str]) -> Series:
    """The points of all dumped rollouts.

    Entropy comes from a run's metrics.jsonl, or else from the dump itself.
    """
    logged = [_logged(Path(path)) for path in paths]
    dumped = _dumped(attribution, len(paths))
    by_path = []
    for from_log, from_dump in zip(logged, dumped, strict=True):
        by_path.append(from_log or from_dump)
    points = _points(attribution, by_path)
    span = []
    # over several paths there is no first and no last
    if len(paths) == 1:
        span = _span(attribution, by_path[0])
    return Series(
        points=points,
        correlation=correlation(points),
        first=span[0] if len(span) > 1 else None,
        last=span[-1] if len(span) > 1 else None,
        noise=_noise([entropy for _, entropy in span]),
        from_metrics=any(logged),
    )


def _dumped(attribution: Attribution, paths: int) -> list[EntropyByStep]:
    """Entropy at the start of each rollout by path and step, where a dump has it."""
    by_path: list[EntropyByStep] = [{} for _ in range(paths)]
    keys = attribution.steps.keys.tolist()
    sums = attribution.entropy.tolist()
    for (path, step), (total, count) in zip(keys, sums, strict=True):
        if count:
            by_path[path][step] = total / count
    return by_path


def _points(attribution: Attribution, by_path: list[EntropyByStep]) -> list[Point]:
    if attribution.plan.measure is None:
        return []
    steps = attribution.steps
    tokens = steps.tokens.sum(1)
    points = []
    for i, (path, step) in enumerate(steps.keys.tolist()):
        before = by_path[path].get(step)
        after = by_path[path].get(step + 1)
        # a rollout may have no trained token, when all its completions are truncated
        if before is None or after is None or not tokens[i]:
            continue
        point = Point(
            path=path,
            step=step,
            entropy=before,
            measured=after - before,
            predicted=float(steps.kept[i] / tokens[i]),
        )
        points.append(point)
    return points


def _span(
    attribution: Attribution, entropies: EntropyByStep
) -> list[tuple[int, float]]:
    """Steps with their entropy, from the first dumped to one past the last."""
    dumped = attribution.steps.keys[:, 1]
    first = dumped.min()
    end = dumped.max() + 1
    within = []
    for step in sorted(entropies):
        if first <= step <= end:
            within.append((step, entropies[step]))
    return within


def _noise(entropies: Sequence[float]) -> float | None:
    if len(entropies) < FEWEST:
        return None
    return float(np.diff(entropies).std(ddof=1))


def correlation(points: Sequence[Point]) -> Interval | None:
    """Pearson's correlation of predicted and measured change, with a 95% interval.

    Fisher's interval: tanh(atanh r +- 1.96 / sqrt(n - 3)). It takes rollouts as
    independent, which makes it somewhat too narrow: two neighbours share an entropy.
    """
    if len(points) < FEWEST:
        return None
    predicted = [point.predicted for point in points]
    measured = [point.measured for point in points]
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None
    coefficients = np.corrcoef(predicted, measured)
    # rounding may lead past 1
    r = float(np.clip(coefficients[0, 1], -1, 1))
    if abs(r) == 1:
        return Interval(r, r, r)
    z = math.atanh(r)
    half = _NORMAL_97_5 / math.sqrt(len(points) - 3)
    low = math.tanh(z - half)
    high = math.tanh(z + half)
    return Interval(r, low, high)


def _logged(path: Path) -> EntropyByStep:
    """Entropy by step from a metrics.jsonl; empty where there is none.

    `path` is the run's folder, or a dump of it.
    """
    # a folder above counts only for a dump where a run keeps its own
    runs = [path]
    if path.name == "dump":
        runs.append(path.parent)
    if path.parent.name == "dump":
        runs.append(path.parent.parent)
    for run in runs:
        file = run / "metrics.jsonl"
        if file.is_file():
            return _read_metrics(file)
    return {}


def _read_metrics(file: Path) -> EntropyByStep:
    """Lines that are no record of a step are left out, such as one that a kill cut."""
    entropies = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        # bounded, since anybody may have written the file
        while line := lines.readline(_LONGEST_LINE):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(record, dict):
                continue
            step = record.get("step")
            entropy = record.get("entropy")
            if type(step) is not int or type(entropy) is not float:
                continue
            if math.isfinite(entropy):
                entropies[step] = entropy
    return entropies
