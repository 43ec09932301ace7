"""Several runs at once, a process each, on as many cores as they have threads. One run stays in this process."""

import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from entrostat.lab.context import Groundwork
from entrostat.lab.ranks import Ranks
from entrostat.lab.run import Run
from entrostat.lab.train import train
from entrostat.lab.watch import Watcher

POLL_SECONDS = 0.5
# in a worker
_busy = threading.Event()
"""A run goes on. It stops by itself, resumable, at Ctrl-C and when the parent is gone."""
_stop = threading.Event()
"""Ctrl-C has come: what is still in the queue does not begin."""


def train_all(
    runs: list[Run],
    watchers: list[Watcher],
    ranks: Ranks | None = None,
    ground: Groundwork | None = None,
) -> bool:
    """Trains runs that have not ended, at most one a core; False where Ctrl-C stopped them at a resumable point.

    `ranks`, `ground`: the processes that share the one run, where it is one, and what it was made from in this process.
    Raises what a run raises, once the others have ended.
    """
    if len(runs) == 1:
        return train(runs[0], watchers[0], ranks=ranks, ground=ground) is not None
    # spawn: a fork would copy torch's thread pools in an unknown state
    context = multiprocessing.get_context("spawn")
    at_once = max(
        1, (os.cpu_count() or 1) // max(run.config["threads"] for run in runs)
    )
    workers = min(at_once, len(runs))
    with ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(os.getpid(),)
    ) as pool:
        futures = [pool.submit(_work, str(run.path), os.getpid()) for run in runs]
        try:
            _follow(runs, watchers, futures)
        except KeyboardInterrupt:  # the terminal has sent it to the workers too
            for future in futures:
                future.cancel()
            watchers[0].note("stopping after this rollout")
        return all(not f.cancelled() and f.result() for f in futures)


def _begin(parent: int) -> None:
    """In the worker, at its start: Ctrl-C must not kill it while it waits for work, and a killed parent must."""

    def interrupt(_signal: int, _frame: Any) -> None:
        _stop.set()
        if _busy.is_set():
            raise KeyboardInterrupt

    def watch() -> None:
        while os.getppid() == parent or _busy.is_set():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=watch, daemon=True).start()


def _work(path: str, parent: int) -> bool:
    """In the worker: whether the run has come to its end."""
    if _stop.is_set() or os.getppid() != parent:
        return False
    _busy.set()
    try:
        done = train(Run.open(Path(path)), parent=parent) is not None
    except KeyboardInterrupt:
        done = False
    finally:
        _busy.clear()
    if not done:
        _stop.set()
    return done


def _follow(
    runs: list[Run], watchers: list[Watcher], futures: list["Future[bool]"]
) -> None:
    """Tells the watchers of the lines that the workers write, until all have ended."""
    seen = [0] * len(runs)
    while True:
        ended = all(future.done() for future in futures)
        for i, (run, watcher) in enumerate(zip(runs, watchers, strict=True)):
            lines = (
                (run.path / "metrics.jsonl")
                .read_text(encoding="utf-8")
                .splitlines(keepends=True)
            )
            for line in lines[seen[i] :]:
                if line.endswith("\n"):  # the last one may be half written
                    watcher.line(json.loads(line))
                    seen[i] += 1
        if ended:
            return
        time.sleep(POLL_SECONDS)
