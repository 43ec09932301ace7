"""The effect of a clip, measured until it is known well enough: paired branches over seeds, in a folder that resumes.

    DIR/effect.json   what is measured: the point and the methods
    DIR/rows.jsonl    a line a rollout; the rollouts of a seed are written together, once all are measured

The stopping rule looks at the width of the intervals alone, never at where they lie, so the effect is not biased by it
(fixed-width sequential intervals: Chow and Robbins 1965).
"""

import dataclasses
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from entrostat.estimate import Interval, seed_interval
from entrostat.lab.lock import held
from entrostat.lab.methods import Method, from_json, label, make_method, to_json
from entrostat.lab.paired import CALIBRATED, Branch, Point, Row, check_methods, measure
from entrostat.statefile import write_atomic

FEWEST_SEEDS = 2
"""Before the stopping rule is asked."""


class Effect(NamedTuple):
    """What one arm does, or one pair of arms; a rollout is what varies independently."""

    name: str
    log_entropy: Interval
    """Of ln H a rollout, against the base."""
    by_seed: Interval
    """The same mean with the interval over seeds; its ends are nan with one seed."""
    reward: Interval
    """Of the mean true reward a rollout."""


class Measured(NamedTuple):
    """What rows say."""

    rollouts: int
    seeds: int
    drift: Interval
    """Change of ln H a rollout under the base."""
    effects: list[Effect]
    """One an arm, then the odd and the even part of each pair."""
    means: dict[str, dict[str, float]]
    """Of the base and each arm: kl, rms, clip_low, clip_high, pace."""


def pair_of(eps: float) -> list[Method]:
    """The two one-sided thresholds of one size."""
    return [make_method("grpo", low=eps, high=math.inf), make_method("grpo", low=1.0, high=eps)]


def pairs_in(methods: Sequence[Method]) -> list[tuple[float, int, int]]:
    """The sizes for which both one-sided thresholds are among the methods, with their places."""
    found = []
    for at, method in enumerate(methods):
        eps = getattr(method, "low", None)
        if method == make_method("grpo", low=eps or 1.0, high=math.inf) and eps != 1.0:
            other = pair_of(eps)[1]
            found += [(eps, at, where) for where, each in enumerate(methods) if each == other]
    return found


def named(method: Method) -> str:
    """A method's label, or where it is a static window with a side off, which side is on.

    >>> named(make_method("grpo", low=1.0, high=0.05))
    'high 0.05 alone'
    """
    low, high = getattr(method, "low", None), getattr(method, "high", None)
    if low is None or high is None or method != make_method("grpo", low=low, high=high):
        return label(method)
    sides = [text for text, on in ((f"low {low:g}", low < 1.0), (f"high {high:g}", high < math.inf)) if on]
    if len(sides) == 2:
        return label(method)
    return f"{sides[0]} alone" if sides else "no clipping"


def estimate(rows: Sequence[Row], methods: Sequence[Method]) -> Measured:
    """All effects against the first method, with 95% intervals over rollouts (Student's t)."""
    names = [named(method) for method in methods]
    seeds = [row.seed for row in rows]
    of = lambda arm, field: [getattr(row.branches[arm], field) for row in rows]  # noqa: E731
    less = lambda arm, field: [a - b for a, b in zip(of(arm, field), of(0, field), strict=True)]  # noqa: E731
    changes = {arm: (less(arm, "log_entropy"), less(arm, "reward")) for arm in range(1, len(methods))}
    effects = [_effect(names[arm], *changes[arm], seeds) for arm in changes]
    for eps, low, high in pairs_in(methods):
        if 0 in (low, high):
            continue
        for part, sign in (("odd", -1), ("even", 1)):
            halves = [
                [(a + sign * b) / 2 for a, b in zip(x, y, strict=True)]
                for x, y in zip(changes[low], changes[high], strict=True)
            ]
            effects.append(_effect(f"{part} part of {eps:g}", halves[0], halves[1], seeds))
    drift = [after - row.before for after, row in zip(of(0, "log_entropy"), rows, strict=True)]
    fields = ("kl", "rms", "clip_low", "clip_high", "pace")
    means = {name: {field: statistics.fmean(of(arm, field)) for field in fields} for arm, name in enumerate(names)}
    return Measured(len(rows), len(set(seeds)), seed_interval(drift), effects, means)


def _effect(name: str, log_entropy: list[float], reward: list[float], seeds: list[int]) -> Effect:
    by_seed: dict[int, list[float]] = {}
    for seed, value in zip(seeds, log_entropy, strict=True):
        by_seed.setdefault(seed, []).append(value)
    means = [statistics.fmean(values) for values in by_seed.values()]
    over_seeds = seed_interval(means) if len(means) > 1 else Interval(means[0], math.nan, math.nan)
    return Effect(name, seed_interval(log_entropy), over_seeds, seed_interval(reward))


def narrow(measured: Measured, within: float) -> bool:
    """Whether every interval that is asked for is narrow enough: of the odd parts, or where there is no pair, of all.

    `within` is the largest half-width, in units of ln H a rollout.
    """
    asked = [effect for effect in measured.effects if effect.name.startswith("odd part")] or measured.effects
    return all((effect.log_entropy.high - effect.log_entropy.low) / 2 <= within for effect in asked)


class Measurement:
    """The folder of a measurement."""

    def __init__(self, path: Path, point: Point, methods: Sequence[Method]):
        """Opens the folder, or makes it. ValueError where it holds a measurement of something else."""
        check_methods(methods, point)
        self.path, self.point, self.methods = path, point, list(methods)
        record = {"point": dataclasses.asdict(point), "methods": [to_json(method) for method in methods]}
        file = path / "effect.json"
        if file.is_file():
            known = json.loads(file.read_text(encoding="utf-8"))
            if known != json.loads(json.dumps(record)):
                raise ValueError(f"{path} holds a measurement of something else: choose another --out")
        elif path.exists() and any(path.iterdir()):
            raise ValueError(f"{path} is not empty: choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(record, indent=1) + "\n")

    @property
    def rows(self) -> list[Row]:
        """Of all seeds that are whole."""
        file = self.path / "rows.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [_row(json.loads(line)) for line in lines]

    def run(
        self,
        *,
        first_seed: int,
        rollouts: int,
        within: float | None = None,
        workers: int | None = None,
        note: Callable[[Measured], None] = lambda _: None,
    ) -> Measured:
        """Measures seeds until the intervals are narrow enough or `rollouts` are measured, a process a core.

        Raises ValueError where an arm's KL can't be made the base's, and what a worker raises. Ctrl-C keeps the seeds
        that are whole.
        """
        with held(self.path, f"{self.path} is being measured by another process: wait for it, or stop it"):
            return self._run(first_seed, rollouts, within, workers or os.cpu_count() or 1, note)

    def _run(self, first_seed, rollouts, within, workers, note) -> Measured:
        seeds = range(first_seed, first_seed + math.ceil(rollouts / self.point.length))
        rows = self.rows
        missing = [seed for seed in seeds if seed not in {row.seed for row in rows}]
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in an unknown state
        # a batch of seeds at a time: the rule is asked between them
        with ProcessPoolExecutor(min(workers, max(len(missing), 1)), context) as pool:
            for start in range(0, len(missing), workers):
                enough = len({row.seed for row in rows}) >= FEWEST_SEEDS
                if within is not None and enough and narrow(estimate(rows, self.methods), within):
                    break
                batch = missing[start : start + workers]
                words = [to_json(method) for method in self.methods]
                futures = [pool.submit(_seed, dataclasses.asdict(self.point), words, seed) for seed in batch]
                for future in futures:
                    found = future.result()
                    self._keep(found)
                    rows += found
                measured = estimate(rows, self.methods)
                self._check_matched(measured)
                note(measured)
        return estimate(rows, self.methods)

    def _keep(self, rows: list[Row]) -> None:
        text = "".join(json.dumps(_record(row)) + "\n" for row in rows)
        with (self.path / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)

    def _check_matched(self, measured: Measured) -> None:
        if not self.point.match_kl:
            return
        (_, base), *arms = measured.means.items()
        for name, means in arms:
            if abs(means["kl"] / base["kl"] - 1) > CALIBRATED and measured.rollouts >= FEWEST_SEEDS * self.point.length:
                raise ValueError(
                    f"the KL of {name} can't be matched: {means['kl']:.2e} against {base['kl']:.2e} a rollout at "
                    f"{means['pace']:.2f} times its steps; give more --warmup, or leave out --match-kl"
                )


def _seed(point: dict[str, Any], methods: list[dict[str, Any]], seed: int) -> list[Row]:
    """In a worker: all rows of a seed."""
    torch.set_num_threads(1)
    return list(measure(Point(**point), [from_json(method) for method in methods], seed))


def _record(row: Row) -> dict[str, Any]:
    return row._asdict() | {"branches": [[float(f"{x:.8g}") for x in branch] for branch in row.branches]}


def _row(record: dict[str, Any]) -> Row:
    branches = [Branch(*values) for values in record["branches"]]
    return Row(record["seed"], record["rollout"], record["before"], branches)
