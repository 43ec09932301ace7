"""The effect of a clip, measured until it is known well enough: paired branches over seeds, in a folder that resumes.

    DIR/effect.json   what is measured: the point and the methods
    DIR/rows.jsonl    a line a rollout; the rollouts of a seed are written together, once all are measured

The stopping rule looks at the width of the intervals alone, never at where they lie, so the effect is not biased by it
(fixed-width sequential intervals: Chow and Robbins 1965).
"""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import signal
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from entrostat.estimate import Interval, seed_interval
from entrostat.files import held, is_taken, write_atomic, write_json
from entrostat.lab.methods import Method, from_json, label, make_method, to_json
from entrostat.lab.paired import CALIBRATED, Branch, Point, Row, check, measure
from entrostat.strategies.static import Grpo

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
    return [
        make_method("grpo", low=eps, high=math.inf),
        make_method("grpo", low=1.0, high=eps),
    ]


def pairs_in(methods: Sequence[Method]) -> list[tuple[float, int, int]]:
    """The sizes for which both one-sided thresholds are among the methods, with their places."""
    found = []
    for at, method in enumerate(methods):
        if (
            isinstance(method, Grpo)
            and method.low != 1.0
            and method == pair_of(method.low)[0]
        ):
            other = pair_of(method.low)[1]
            found += [
                (method.low, at, where)
                for where, each in enumerate(methods)
                if each == other
            ]
    return found


def named(method: Method) -> str:
    """A method's label, or where it is a static window with a side off, which side is on.

    >>> named(make_method("grpo", low=1.0, high=0.05))
    'high 0.05 alone'
    """
    if not isinstance(method, Grpo):
        return label(method)
    low, high = method.low, method.high
    sides = [
        text
        for text, on in ((f"low {low}", low < 1.0), (f"high {high}", high < math.inf))
        if on
    ]
    if len(sides) == 2:
        return label(method)
    return f"{sides[0]} alone" if sides else "no clipping"


def estimate(rows: Sequence[Row], methods: Sequence[Method]) -> Measured:
    """All effects against the first method, with 95% intervals over rollouts (Student's t); their ends are nan where
    there is one rollout.
    """
    names = [named(method) for method in methods]
    seeds = [row.seed for row in rows]

    def of(arm: int, field: str) -> list[float]:
        return [getattr(row.branches[arm], field) for row in rows]

    def less(arm: int, field: str) -> list[float]:
        """An arm's numbers less the base's, one a rollout."""
        pairs = zip(of(arm, field), of(0, field), strict=True)
        return [own - base for own, base in pairs]

    changes = {
        arm: (less(arm, "log_entropy"), less(arm, "reward"))
        for arm in range(1, len(methods))
    }
    effects = [_effect(names[arm], *changes[arm], seeds) for arm in changes]
    for eps, low, high in pairs_in(methods):
        if 0 in (low, high):
            continue
        for part, sign in (("odd", -1), ("even", 1)):
            halves = [
                [(a + sign * b) / 2 for a, b in zip(x, y, strict=True)]
                for x, y in zip(changes[low], changes[high], strict=True)
            ]
            effects.append(
                _effect(f"{part} part of {eps}", halves[0], halves[1], seeds)
            )
    drift = [
        after - row.before
        for after, row in zip(of(0, "log_entropy"), rows, strict=True)
    ]
    fields = ("kl", "rms", "clip_low", "clip_high", "pace")
    means = {
        name: {field: statistics.fmean(of(arm, field)) for field in fields}
        for arm, name in enumerate(names)
    }
    return Measured(len(rows), len(set(seeds)), _interval(drift), effects, means)


def _effect(
    name: str, log_entropy: list[float], reward: list[float], seeds: list[int]
) -> Effect:
    by_seed: dict[int, list[float]] = {}
    for seed, value in zip(seeds, log_entropy, strict=True):
        by_seed.setdefault(seed, []).append(value)
    means = [statistics.fmean(values) for values in by_seed.values()]
    return Effect(name, _interval(log_entropy), _interval(means), _interval(reward))


def _interval(values: list[float]) -> Interval:
    return (
        seed_interval(values)
        if len(values) > 1
        else Interval(values[0], math.nan, math.nan)
    )


def narrow(measured: Measured, within: float) -> bool:
    """Whether every interval that is asked for is narrow enough: of the odd parts, or where there is no pair, of all.

    `within` is the largest half-width, in units of ln H a rollout.
    """
    asked = [
        effect for effect in measured.effects if effect.name.startswith("odd part")
    ] or measured.effects
    return all(
        (effect.log_entropy.high - effect.log_entropy.low) / 2 <= within
        for effect in asked
    )


def whole_seeds(rollouts: int, point: Point) -> int:
    """How many seeds fit into so many rollouts. ValueError for none."""
    if rollouts < point.length:
        raise ValueError(
            f"--rollouts {rollouts} is less than a seed's {point.length}: give more, or a smaller --length"
        )
    return rollouts // point.length


class Measurement:
    """The folder of a measurement."""

    def __init__(self, path: Path, point: Point, methods: Sequence[Method]):
        """Opens the folder, or makes it.

        Raises:
            ValueError: it holds something else, two methods are the same, or what `paired.check` refuses; then nothing
                is written.
        """
        names = [named(method) for method in methods]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is given twice: leave one out")
        self.path, self.point, self.methods = path, point, list(methods)
        record = {
            "point": dataclasses.asdict(point),
            "methods": [to_json(method) for method in methods],
        }
        file = path / "effect.json"
        if file.is_file():
            known = _read(file)
            if isinstance(known, dict) and isinstance(known.get("point"), dict):
                # of before an option was there: as it was then
                known["point"] = {**dataclasses.asdict(Point()), **known["point"]}
            if known != json.loads(json.dumps(record)):
                raise ValueError(
                    f"{path} holds a measurement of something else: choose another --out"
                )
            return
        if is_taken(path):
            raise ValueError(f"{path} is not empty: choose another --out")
        check(point, methods)
        path.mkdir(parents=True, exist_ok=True)
        write_json(file, record)

    @property
    def rows(self) -> list[Row]:
        """Of all seeds that are whole, in their order. A line that is not whole, or half a seed, is not counted."""
        file = self.path / "rows.jsonl"
        lines = (
            file.read_text(encoding="utf-8", errors="replace").splitlines()
            if file.is_file()
            else []
        )
        found: dict[int, dict[int, Row]] = {}
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = as_row(json.loads(line))
                found.setdefault(row.seed, {})[row.rollout] = row
        whole = [
            seed
            for seed in sorted(found)
            if set(found[seed]) == set(range(self.point.length))
        ]
        return [
            found[seed][rollout]
            for seed in whole
            for rollout in range(self.point.length)
        ]

    def run(
        self,
        *,
        first_seed: int,
        rollouts: int,
        within: float | None = None,
        workers: int | None = None,
        note: Callable[[Measured], None] = lambda _: None,
    ) -> Measured:
        """Measures seeds until the intervals are narrow enough or no seed more fits into `rollouts`, a process a core.

        A run that goes on asks the stopping rule where one without a break asks it, and ends with the same numbers.
        Raises ValueError where an arm's KL can't be made the base's, and what a worker raises. Ctrl-C keeps the seeds
        that are whole.
        """
        count = whole_seeds(rollouts, self.point)
        with held(
            self.path,
            f"{self.path} is being measured by another process: wait for it, or stop it",
        ):
            return self._run(
                range(first_seed, first_seed + count),
                within,
                workers or os.cpu_count() or 1,
                note,
            )

    def _run(self, seeds, within, workers, note) -> Measured:
        rows = self.rows
        words = [to_json(method) for method in self.methods]
        with _processes(min(workers, len(seeds))) as pool:
            # a batch of seeds at a time: the rule is asked between them, of the batches before
            for start in range(0, len(seeds), workers):
                before = [row for row in rows if row.seed in seeds[:start]]
                if (
                    within is not None
                    and start >= FEWEST_SEEDS
                    and narrow(estimate(before, self.methods), within)
                ):
                    break
                known = {row.seed for row in rows}
                missing = [
                    seed for seed in seeds[start : start + workers] if seed not in known
                ]
                futures = [
                    pool.submit(_seed, dataclasses.asdict(self.point), words, seed)
                    for seed in missing
                ]
                for future in as_completed(futures):
                    rows = sorted(rows + future.result())
                    self._keep(rows)
                if missing:
                    note(estimate(rows, self.methods))
                if start + workers >= FEWEST_SEEDS:
                    self._check_matched(estimate(rows, self.methods))
        measured = estimate(rows, self.methods)
        self._check_matched(measured)
        return measured

    def _keep(self, rows: list[Row]) -> None:
        write_atomic(
            self.path / "rows.jsonl",
            "".join(json.dumps(row._asdict()) + "\n" for row in rows),
        )

    def _check_matched(self, measured: Measured) -> None:
        if not self.point.match_kl:
            return
        (_, base), *arms = measured.means.items()
        for name, means in arms:
            if abs(means["kl"] - base["kl"]) > CALIBRATED * base["kl"]:
                raise ValueError(
                    f"the KL of {name} can't be matched: {means['kl']:.2e} against {base['kl']:.2e} a rollout at "
                    f"{means['pace']:.2f} times its steps; leave out --match-kl, or this arm"
                )


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Workers that end with this process, and at once with an exception in it: they have written nothing."""
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would copy torch's threads in an unknown state
    gone, here = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        count, context, initializer=_begin, initargs=(gone,)
    ) as pool:
        try:
            yield pool
        except BaseException:
            here.close()
            raise


def _begin(gone: Connection) -> None:
    """In a worker, at its start."""

    def watch() -> None:
        gone.poll(None)  # the other end is closed, or its process dead
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    threading.Thread(target=watch, daemon=True).start()
    torch.set_num_threads(1)


def _seed(point: dict[str, Any], methods: list[dict[str, Any]], seed: int) -> list[Row]:
    """In a worker: all rows of a seed."""
    return list(
        measure(Point(**point), [from_json(method) for method in methods], seed)
    )


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): choose another --out") from None


def as_row(record: dict[str, Any]) -> Row:
    """A row from its JSON."""
    branches = [Branch(*values) for values in record["branches"]]
    return Row(record["seed"], record["rollout"], record["before"], branches)
