"""Several runs at once, a process each, on as many cores as they have threads. One run stays in this process."""

import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from entrostat.lab.run import Run
from entrostat.lab.train import Watcher, train

POLL_SECONDS = 0.5
_busy = threading.Event()
"""In a worker: a run goes on, and stops by itself, resumable, when the parent is gone."""


def train_all(runs: list[Run], watchers: list[Watcher]) -> bool:
    """Trains runs that have not ended, at most one a core; False where Ctrl-C stopped them at a resumable point.

    Raises what a run raises, once the others have ended.
    """
    if len(runs) == 1:
        return train(runs[0], watchers[0]) is not None
    # spawn: a fork would copy torch's thread pools in an unknown state
    context = multiprocessing.get_context("spawn")
    at_once = max(1, (os.cpu_count() or 1) // max(run.config["threads"] for run in runs))
    workers = min(at_once, len(runs))
    with ProcessPoolExecutor(workers, context, initializer=_leave_with, initargs=(os.getpid(),)) as pool:
        futures = [pool.submit(_work, str(run.path), os.getpid()) for run in runs]
        try:
            _follow(runs, watchers, futures)
        except KeyboardInterrupt:  # the terminal has sent it to the workers too
            for future in futures:
                future.cancel()
            watchers[0].note("stopping after this rollout")
        return all(not f.cancelled() and f.result() for f in futures)


def _leave_with(parent: int) -> None:
    """In the worker, at its start: a pool whose parent was killed has nobody to tell its workers to end."""

    def watch() -> None:
        while os.getppid() == parent or _busy.is_set():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(path: str, parent: int) -> bool:
    """In the worker: whether the run has come to its end."""
    if os.getppid() != parent:
        return False
    _busy.set()
    try:
        return train(Run.open(Path(path)), parent=parent) is not None
    except KeyboardInterrupt:
        return False
    finally:
        _busy.clear()


def _follow(runs: list[Run], watchers: list[Watcher], futures: list["Future[bool]"]) -> None:
    """Tells the watchers of the lines that the workers write, until all have ended."""
    seen = [0] * len(runs)
    while True:
        ended = all(future.done() for future in futures)
        for i, (run, watcher) in enumerate(zip(runs, watchers, strict=True)):
            lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
            for line in lines[seen[i] :]:
                if line.endswith("\n"):  # the last one may be half written
                    watcher.line(json.loads(line))
                    seen[i] += 1
        if ended:
            return
        time.sleep(POLL_SECONDS)
