"""Several runs at once, a process each, on as many cores as they have threads. One run
stays in this process.

A run that is stopped by Ctrl-C, or whose parent is killed, ends by itself at a point to
go on from. Runs that still wait for a worker do not begin then.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from entrostat.lab.context import Groundwork
from entrostat.lab.ranks import Ranks
from entrostat.lab.run import Run
from entrostat.lab.train import train
from entrostat.lab.watch import Watcher

POLL_SECONDS = 0.5

_in_training = threading.Event()
"""In a worker: a run goes on."""
_interrupted = threading.Event()
"""In a worker: Ctrl-C has come."""
_statuses: "SimpleQueue[tuple[int, str]] | None" = None
"""In a worker: the way of numbers of runs, and of what goes on in them, to the parent."""


class _Teller(Watcher):
    """In a worker: tells the parent what goes on in a run. Its lines are read from its
    file, and a note may come inside a signal handler, where the queue may be locked."""

    def __init__(self, number: int):
        self.number = number

    def status(self, text: str) -> None:
        assert _statuses is not None
        _statuses.put((self.number, text))


def train_all(
    runs: list[Run],
    watchers: list[Watcher],
    ranks: Ranks | None = None,
    ground: Groundwork | None = None,
) -> bool:
    """Trains runs that have not ended, at most one per core; False where Ctrl-C stopped
    them at a point to go on from.

    Raises what a run raises, once the others have ended.

    Args:
        ranks: the processes that share the one run, where it is one.
        ground: what that one run was made from in this process.
    """
    if len(runs) == 1:
        ended = train(runs[0], watchers[0], ranks=ranks, ground=ground) is not None
        watchers[0].status("")
        return ended
    threads = max(run.config["threads"] for run in runs)
    at_once = max(1, (os.cpu_count() or 1) // threads)
    # not a fork, which would copy torch's thread pools in an unknown state
    context = multiprocessing.get_context("spawn")
    parent, statuses = os.getpid(), context.SimpleQueue()
    workers = min(at_once, len(runs))
    initargs = (parent, statuses)
    with ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=initargs
    ) as pool:
        futures = []
        for number, run in enumerate(runs):
            futures.append(pool.submit(_work, number, run.path, parent))
        try:
            _follow(runs, watchers, futures, statuses)
        except KeyboardInterrupt:
            # the terminal has sent it to the workers too, who stop by themselves
            for future in futures:
                future.cancel()
            watchers[0].note("stopping after this rollout")
        return all(not future.cancelled() and future.result() for future in futures)


def _begin(parent: int, statuses: "SimpleQueue[tuple[int, str]]") -> None:
    """In a worker, at its start: Ctrl-C must not kill it while it waits for work, and
    the death of its parent must."""
    global _statuses
    _statuses = statuses

    def interrupt(_signal: int, _frame: Any) -> None:
        _interrupted.set()
        if _in_training.is_set():
            raise KeyboardInterrupt

    def watch() -> None:
        # a run in training sees by itself that its parent is gone
        while os.getppid() == parent or _in_training.is_set():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=watch, daemon=True).start()


def _work(number: int, path: Path, parent: int) -> bool:
    """In a worker: whether the run has come to its end."""
    if _interrupted.is_set() or os.getppid() != parent:
        return False
    _in_training.set()
    try:
        ended = train(Run.open(path), _Teller(number), parent=parent) is not None
    except KeyboardInterrupt:
        ended = False
    finally:
        _in_training.clear()
    if not ended:
        # the next run in the queue must not begin
        _interrupted.set()
    return ended


def _follow(
    runs: list[Run],
    watchers: list[Watcher],
    futures: list["Future[bool]"],
    statuses: "SimpleQueue[tuple[int, str]]",
) -> None:
    """Tells the watchers of the lines that the workers write, and of what they do, until
    all have ended."""
    told = [0] * len(runs)
    while True:
        # asked before the files are read, so that the last lines are not missed
        ended = all(future.done() for future in futures)
        for i, run in enumerate(runs):
            lines = _whole_lines(run)
            for line in lines[told[i] :]:
                watchers[i].line(json.loads(line))
            told[i] = len(lines)
        # behind the lines: what is done after a line replaces it on the screen
        while not statuses.empty():
            number, text = statuses.get()
            watchers[number].status(text)
        for watcher, future in zip(watchers, futures, strict=True):
            if future.done():
                watcher.status("")
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _whole_lines(run: Run) -> list[str]:
    """Of metrics.jsonl, without a last one that is half written."""
    text = (run.path / "metrics.jsonl").read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
