"""Verifiers in processes of their own, so that a text that hangs or kills one costs its time-out and no more.

A time-out inside the verifier's process can't be relied on: a signal handler waits while C code runs (9**9**9), and
math-verify turns its own time-out into a wrong answer. Here the process is killed and replaced, and its sample comes
back without a score.
"""

import contextlib
import inspect
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from entrostat.verify import registry
from entrostat.verify.registry import check_verifier

CHUNK, LETTERS = 128, 1 << 20
"""Pairs sent to a worker at a time, and their characters unless one pair has more: the most that is out at once for
each process."""
NAP = 0.005
"""Seconds in which lines gather: to wake up for each would take a tenth of a core from the workers."""
FEW = 4
"""Pairs left to a worker at which it is listened to without a nap, lest it waits for its next chunk."""
START_SECONDS = 300.0
"""A worker that has not read its verifier by then is taken for broken."""
STARTS = 3
"""Workers in a row that may die before they are ready."""
ORPHANED = 4
"""Time-outs after which a worker ends itself over a text: nobody is there any more to kill it."""

_ALARM = getattr(signal, "SIGALRM", 0)

Pair = tuple[str, str]


class Verdict(NamedTuple):
    """What became of one pair."""

    score: float | None
    """1.0 right, 0.0 wrong; None where the verifier timed out, died or threw."""
    error: str | None
    """Which of these, where there is no score."""


class _Worker:
    """One process, and the pairs that it has not answered yet, each with its index."""

    def __init__(self, path: str, name: str, timeout: float):
        self.pending: deque[tuple[int, Pair]] = deque()
        self.ready = False
        self.buffer = b""
        self.since = time.monotonic()
        script = str(Path(__file__).with_name("worker.py"))
        self.process = subprocess.Popen(
            # -P: no module of this folder stands in for one of the standard library
            [sys.executable, "-P", script, path, name, str(ORPHANED * timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is the run's; a worker ends when its input does
            start_new_session=True,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def send(self, chunk: list[tuple[int, Pair]]) -> None:
        # the worker waits for it, so that a write longer than the pipe's buffer does not block for long
        self.pending.extend(chunk)
        self.since = time.monotonic()
        line = json.dumps([pair for _, pair in chunk]).encode() + b"\n"
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: read() will say so
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def read(self) -> list[dict] | None:
        """The lines that have come since; None when the worker is gone."""
        assert self.process.stdout is not None
        data = self.process.stdout.read()
        if data == b"":
            return None
        *lines, self.buffer = (self.buffer + (data or b"")).split(b"\n")
        if lines:
            self.since = time.monotonic()
        return [json.loads(line) for line in lines]

    def stop(self) -> int:
        """Kills it; the exit code."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code


class VerifierPool:
    """Scores pairs with one verifier in `processes` workers, each text in at most `timeout` seconds.

    The workers stay between calls. Not for use from two threads at once.

    Raises:
        ValueError: no such verifier, or what it needs is not installed.
    """

    def __init__(self, verifier: str, *, processes: int = 2, timeout: float = 5.0):
        check_verifier(verifier)
        if processes < 1 or not 0 < timeout < float("inf"):
            raise ValueError(
                f"processes is {processes} and timeout {timeout}: use at least 1, and seconds over 0"
            )
        function = inspect.unwrap(registry.VERIFIERS[verifier])
        self.verifier, self.processes, self.timeout = verifier, processes, timeout
        self.timeouts = 0
        """Texts that took too long, over all calls."""
        self._source = (inspect.getfile(function), function.__name__)
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def score(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """The verdict on each (answer, completion), in order.

        Raises:
            RuntimeError: workers die before they are ready.
        """
        verdicts: dict[int, Verdict] = {}
        waiting = deque(enumerate(pairs))
        size = max(1, min(CHUNK, len(waiting) // (4 * self.processes)))
        for worker in [w for w in self._workers if w.process.poll() is not None]:
            # between two calls, so no pair of this one is to blame
            self._workers.remove(worker)
            worker.stop()
        try:
            while len(verdicts) < len(pairs):
                while len(self._workers) < min(self.processes, len(pairs)):
                    self._workers.append(_Worker(*self._source, self.timeout))
                for worker in self._workers:
                    if worker.ready and not worker.pending and waiting:
                        worker.send(_chunk(waiting, size))
                self._listen(verdicts, waiting)
        except BaseException:
            self.close()  # what is out would answer the next call's pairs
            raise
        return [verdicts[index] for index in range(len(pairs))]

    def _listen(
        self, verdicts: dict[int, Verdict], waiting: deque[tuple[int, Pair]]
    ) -> None:
        """Takes what workers say until one of them is due: idle, gone, or over its time."""
        busy = [
            worker for worker in self._workers if worker.pending or not worker.ready
        ]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # pyright: ignore[reportArgumentType]
            left = (
                min(worker.since + self._limit(worker) for worker in busy)
                - time.monotonic()
            )
            heard = [key.data for key, _ in selector.select(max(left, 0))]
        now = time.monotonic()  # before the nap: who answers in it is not over its time
        if heard and min(len(worker.pending) for worker in busy) > FEW:
            time.sleep(NAP)
        for worker in heard:
            lines = worker.read()
            if lines is None:
                self._replace(worker, "died", verdicts, waiting)
                continue
            for line in lines:
                if not worker.ready:
                    worker.ready, self._failed_starts = True, 0
                    continue
                index, _ = worker.pending.popleft()
                verdicts[index] = Verdict(line.get("score"), line.get("error"))
        for worker in [
            w for w in busy if w not in heard and now >= w.since + self._limit(w)
        ]:
            self._replace(worker, "timed out", verdicts, waiting)

    def _limit(self, worker: _Worker) -> float:
        return self.timeout if worker.ready else START_SECONDS

    def _replace(
        self,
        worker: _Worker,
        why: str,
        verdicts: dict[int, Verdict],
        waiting: deque[tuple[int, Pair]],
    ) -> None:
        """Kills a worker, reports the pair that it was at, and gives the rest of its chunk back."""
        self._workers.remove(worker)
        code = worker.stop()
        if code == -_ALARM:  # its own, where this process was held up
            why = "timed out"
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                raise RuntimeError(
                    f"the workers of the verifier {self.verifier!r} {why} at their start (exit code {code}), "
                    f"{STARTS} in a row: is it installed whole? entrostat evaluates no answer without them"
                )
        elif worker.pending:
            index, _ = worker.pending.popleft()
            self.timeouts += why == "timed out"
            said = (
                f"timed out after {self.timeout:g} s"
                if why == "timed out"
                else f"the verifier died ({_how(code)})"
            )
            verdicts[index] = Verdict(None, said)
            waiting.extendleft(reversed(worker.pending))

    def close(self) -> None:
        """Ends the workers. A later call of `score` starts others."""
        while self._workers:
            self._workers.pop().stop()

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if "_workers" in self.__dict__:
            self.close()


def _chunk(waiting: deque[tuple[int, Pair]], size: int) -> list[tuple[int, Pair]]:
    """The first pairs that wait, taken off: at least one."""
    chunk, letters = [], 0
    while (
        waiting
        and len(chunk) < size
        and (not chunk or letters + sum(map(len, waiting[0][1])) <= LETTERS)
    ):
        chunk.append(waiting.popleft())
        letters += sum(map(len, chunk[-1][1]))
    return chunk


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
