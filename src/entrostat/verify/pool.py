"""Verifiers in processes of their own, so that a text that hangs or kills one costs its
time-out and no more.

A time-out inside the verifier's process can't be relied on: a signal handler waits
while C code runs (9**9**9), and math-verify turns its own time-out into a wrong answer.
Here the process is killed and replaced, and its sample comes back without a score.
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

CHUNK = 128
"""Pairs sent to a worker at a time, at most: so many wait at once for each process."""
LETTERS = 1 << 20
"""Characters of these pairs, at most, unless the first pair alone has more."""
NAP = 0.005
"""Seconds in which lines gather: to wake up for each would take a tenth of a core from
the workers."""
FEW = 4
"""Pairs left to a worker at which it is listened to without a nap, lest it waits for
its next chunk."""
START_SECONDS = 300.0
"""A worker that has not read its verifier by then is taken for broken."""
STARTS = 3
"""Workers in a row that may die before they are ready."""
ORPHANED = 4
"""Time-outs after which a worker ends itself over a text: its parent is dead, or it
would have killed the worker."""

# Windows has none
_ALARM = getattr(signal, "SIGALRM", 0)

Pair = tuple[str, str]
"""(answer, completion)"""
Waiting = deque[tuple[int, Pair]]
"""Pairs, each with its place in the call."""


class Verdict(NamedTuple):
    """What became of one pair."""

    score: float | None
    """1.0 right, 0.0 wrong; None where the verifier timed out, died or threw."""
    error: str | None
    """Which of the three, where there is no score."""


class _Worker:
    """One process, and the pairs that it has not answered yet. It answers in order."""

    def __init__(self, path: str, name: str, timeout: float):
        self.pending: Waiting = deque()
        self.ready = False
        """It has read its verifier: the first line that it writes."""
        self.since = time.monotonic()
        """When it began the pair that it is at."""
        self._half_line = b""
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
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input, self.output = self.process.stdin, self.process.stdout
        os.set_blocking(self.output.fileno(), False)

    def send(self, chunk: Waiting) -> None:
        """Hands pairs to a worker that has none, and so reads at once: a line longer
        than the pipe's buffer does not block for long."""
        self.pending.extend(chunk)
        self.since = time.monotonic()
        line = json.dumps([pair for _, pair in chunk]).encode() + b"\n"
        # it died: read() will say so
        with contextlib.suppress(BrokenPipeError):
            self._input.write(line)
            self._input.flush()

    def read(self) -> list[dict] | None:
        """The lines that have come since; None when the worker is gone."""
        data = self.output.read()
        if data == b"":
            return None
        *lines, self._half_line = (self._half_line + (data or b"")).split(b"\n")
        if lines:
            self.since = time.monotonic()
        return [json.loads(line) for line in lines]

    def stop(self) -> int:
        """Kills it; the exit code."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self._input, self.output):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code


class VerifierPool:
    """Scores pairs with one verifier in `processes` workers, each text in at most
    `timeout` seconds.

    The workers stay between calls. Not for use from two threads at once.

    Raises:
        ValueError: no such verifier, or what it needs is not installed.
    """

    def __init__(self, verifier: str, *, processes: int = 2, timeout: float = 5.0):
        check_verifier(verifier)
        if processes < 1 or not 0 < timeout < float("inf"):
            raise ValueError(
                f"processes is {processes} and timeout {timeout}: use at least 1, and "
                "seconds over 0"
            )
        function = inspect.unwrap(registry.VERIFIERS[verifier])
        self.verifier = verifier
        self.processes = processes
        self.timeout = timeout
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
        waiting: Waiting = deque(enumerate(pairs))
        # small enough that no worker is left with the last chunk alone
        size = max(1, min(CHUNK, len(pairs) // (4 * self.processes)))
        self._drop_dead()
        try:
            while len(verdicts) < len(pairs):
                while len(self._workers) < min(self.processes, len(pairs)):
                    self._workers.append(_Worker(*self._source, self.timeout))
                for worker in self._workers:
                    if worker.ready and not worker.pending and waiting:
                        worker.send(_chunk(waiting, size))
                self._listen(verdicts, waiting)
        except BaseException:
            # what is out would answer the next call's pairs
            self.close()
            raise
        return [verdicts[place] for place in range(len(pairs))]

    def _drop_dead(self) -> None:
        """Forgets workers that died between two calls: no pair is to blame."""
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._workers.remove(worker)
                worker.stop()

    def _listen(self, verdicts: dict[int, Verdict], waiting: Waiting) -> None:
        """Waits until a worker says something or is over its time, and takes what all
        have said since."""
        busy = [
            worker for worker in self._workers if worker.pending or not worker.ready
        ]
        speaking = self._speaking(busy)
        # before the nap: who answers in it is not over its time
        now = time.monotonic()
        if speaking and min(len(worker.pending) for worker in busy) > FEW:
            time.sleep(NAP)
        for worker in busy:
            if worker in speaking:
                self._take(worker, verdicts, waiting)
            elif now >= self._deadline(worker):
                self._replace(worker, "timed out", verdicts, waiting)

    def _speaking(self, busy: list[_Worker]) -> list[_Worker]:
        """The workers that have said something or are gone, once there is one; none
        where the first deadline comes before."""
        first_deadline = min(map(self._deadline, busy))
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            ready = selector.select(max(first_deadline - time.monotonic(), 0))
        return [key.data for key, _ in ready]

    def _deadline(self, worker: _Worker) -> float:
        return worker.since + (self.timeout if worker.ready else START_SECONDS)

    def _take(
        self, worker: _Worker, verdicts: dict[int, Verdict], waiting: Waiting
    ) -> None:
        """Takes what a worker has said."""
        lines = worker.read()
        if lines is None:
            self._replace(worker, "died", verdicts, waiting)
            return
        for line in lines:
            if worker.ready:
                place, _ = worker.pending.popleft()
                verdicts[place] = Verdict(line.get("score"), line.get("error"))
            else:
                worker.ready = True
                self._failed_starts = 0

    def _replace(
        self,
        worker: _Worker,
        why: str,
        verdicts: dict[int, Verdict],
        waiting: Waiting,
    ) -> None:
        """Kills a worker, reports the pair that it was at, and gives the rest of its
        chunk back."""
        self._workers.remove(worker)
        code = worker.stop()
        # its own alarm, where this process was held up
        if code == -_ALARM:
            why = "timed out"
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                raise RuntimeError(
                    f"the workers of the verifier {self.verifier!r} {why} at their "
                    f"start (exit code {code}), {STARTS} in a row: is it installed "
                    "whole? entrostat evaluates no answer without them"
                )
        elif worker.pending:
            place, _ = worker.pending.popleft()
            if why == "timed out":
                self.timeouts += 1
                error = f"timed out after {self.timeout:g} s"
            else:
                error = f"the verifier died ({_how(code)})"
            verdicts[place] = Verdict(None, error)
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
        # where __init__ has refused its arguments there are none
        if "_workers" in self.__dict__:
            self.close()


def _chunk(waiting: Waiting, size: int) -> Waiting:
    """The first pairs that wait, taken off: at least one."""
    chunk: Waiting = deque()
    letters = 0
    while waiting and len(chunk) < size:
        _, (answer, completion) = waiting[0]
        letters += len(answer) + len(completion)
        if chunk and letters > LETTERS:
            break
        chunk.append(waiting.popleft())
    return chunk


def _how(code: int) -> str:
    """How a process ended."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
