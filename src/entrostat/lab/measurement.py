"""The folder of a measurement: paired branches over seeds until they are known well
enough.

    DIR/effect.json   what is measured: the point and the methods
    DIR/rows.jsonl    a row per rollout; those of a seed are written together, once
                      all are measured

The stopping rule looks at the width of the intervals alone, never at where they lie, so
the effect is not biased by it (fixed-width sequential intervals: Chow and Robbins
1965).
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from entrostat.files import held, is_taken, write_atomic, write_json
from entrostat.lab.effect import Measured, estimate, named, narrow
from entrostat.lab.methods import Method, to_json
from entrostat.lab.paired import CALIBRATED, PairedRollout, measure
from entrostat.lab.point import check
from entrostat.lab.point_options import Point, whole_seeds

FEWEST_SEEDS = 2
"""Before the stopping rule is asked."""


class Measurement:
    """One measurement in its folder. It goes on from what the folder holds."""

    def __init__(self, path: Path, point: Point, methods: Sequence[Method]):
        """Opens the folder, or makes it.

        Raises:
            ValueError: the folder holds something else, two methods are the same, or
                what `point.check` refuses. Nothing is written then.
        """
        self.path = path
        self.point = point
        self.methods = list(methods)
        self._check_names()
        record = {
            "point": dataclasses.asdict(point),
            "methods": [to_json(method) for method in methods],
        }
        file = path / "effect.json"
        if file.is_file():
            # as JSON reads it again: it has no tuples
            if _read(file) != json.loads(json.dumps(record)):
                raise ValueError(
                    f"{path} holds a measurement of something else: choose another "
                    "--out"
                )
            return
        if is_taken(path):
            raise ValueError(f"{path} is not empty: choose another --out")
        check(point, methods)
        path.mkdir(parents=True, exist_ok=True)
        write_json(file, record)

    def _check_names(self) -> None:
        names = [named(method) for method in self.methods]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is given twice: leave one out")

    @property
    def rows(self) -> list[PairedRollout]:
        """The rows of all seeds that are whole, in the order of seeds and rollouts.

        A row that is not whole does not count, nor does a seed that lacks one.
        """
        by_seed: dict[int, dict[int, PairedRollout]] = {}
        for line in self._lines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = PairedRollout.from_json(json.loads(line))
                by_seed.setdefault(row.seed, {})[row.rollout] = row
        rollouts = range(self.point.length)
        rows: list[PairedRollout] = []
        for _, by_rollout in sorted(by_seed.items()):
            if set(by_rollout) == set(rollouts):
                rows += [by_rollout[rollout] for rollout in rollouts]
        return rows

    def _lines(self) -> list[str]:
        file = self.path / "rows.jsonl"
        if not file.is_file():
            return []
        return file.read_text(encoding="utf-8", errors="replace").splitlines()

    def run(
        self,
        *,
        first_seed: int,
        rollouts: int,
        within: float | None = None,
        workers: int | None = None,
        note: Callable[[Measured], None] = lambda measured: None,
    ) -> Measured:
        """Measures seeds until the intervals are narrow enough or no seed more fits
        into `rollouts`. A run that was stopped and goes on ends with the same numbers
        as one without a break. Ctrl-C keeps the seeds that are whole.

        Args:
            within: the half-width that is narrow enough, in ln H; None measures all.
            workers: processes at a time; None for one per core.
            note: is told of what is measured so far, after each batch of seeds.

        Raises:
            ValueError: `rollouts` is less than a seed's, another process measures in
                the folder, or an arm's KL can't be made the base's.
        """
        seeds = range(first_seed, first_seed + whole_seeds(rollouts, self.point))
        at_once = workers or os.cpu_count() or 1
        busy = (
            f"{self.path} is being measured by another process: wait for it, or stop it"
        )
        with held(self.path, busy), _processes(min(at_once, len(seeds))) as pool:
            for start in range(0, len(seeds), at_once):
                if self._is_known(seeds[:start], within):
                    break
                if self._measure_missing(seeds[start : start + at_once], pool):
                    note(self._estimate())
                if start + at_once >= FEWEST_SEEDS:
                    self._check_matched()
            self._check_matched()
            return self._estimate()

    def _estimate(self) -> Measured:
        return estimate(self.rows, self.methods)

    def _is_known(self, seeds: Sequence[int], within: float | None) -> bool:
        """The stopping rule, on these seeds.

        Seeds beyond them, from a run that went further, must not count: a run that goes
        on stops where one without a break stops.
        """
        if within is None or len(seeds) < FEWEST_SEEDS:
            return False
        rows = [row for row in self.rows if row.seed in seeds]
        return narrow(estimate(rows, self.methods), within)

    def _measure_missing(self, seeds: Sequence[int], pool: Executor) -> list[int]:
        """Measures those of the seeds that the folder lacks; which these were."""
        rows = self.rows
        known = {row.seed for row in rows}
        missing = [seed for seed in seeds if seed not in known]
        futures = []
        for seed in missing:
            futures.append(pool.submit(_measured, self.point, self.methods, seed))
        for future in as_completed(futures):
            rows = sorted(rows + future.result())
            self._write(rows)
        return missing

    def _write(self, rows: list[PairedRollout]) -> None:
        lines = [json.dumps(row._asdict()) + "\n" for row in rows]
        write_atomic(self.path / "rows.jsonl", "".join(lines))

    def _check_matched(self) -> None:
        if not self.point.match_kl:
            return
        (_, base), *arms = self._estimate().means.items()
        for name, means in arms:
            if abs(means["kl"] - base["kl"]) > CALIBRATED * base["kl"]:
                raise ValueError(
                    f"the KL of {name} can't be matched: {means['kl']:.2e} against "
                    f"{base['kl']:.2e} per rollout at {means['pace']:.2f} times its "
                    "steps; leave out --match-kl, or this arm"
                )


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Executor]:
    """Workers that end with this process, and at once with an exception in it.

    They may be killed at any moment: a worker writes nothing.
    """
    # not a fork, which would copy torch's threads in an unknown state
    context = multiprocessing.get_context("spawn")
    far_end, near_end = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        count, context, initializer=_begin, initargs=(far_end,)
    ) as pool:
        try:
            yield pool
        except BaseException:
            near_end.close()
            raise


def _begin(far_end: Connection) -> None:
    """In a worker, at its start."""

    def watch() -> None:
        # returns when the parent has closed its end or is dead
        far_end.poll(None)
        os._exit(1)

    # Ctrl-C goes to the whole group, and the parent ends its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    torch.set_num_threads(1)


def _measured(point: Point, methods: list[Method], seed: int) -> list[PairedRollout]:
    """In a worker: all rollouts of a seed."""
    return list(measure(point, methods, seed))


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): choose another --out") from None
