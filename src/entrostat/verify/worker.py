"""A worker of the pool: a process that scores what it is sent and that may be killed at
any time.

Run as a script with a verifier's file and name, and the seconds after which it ends
itself over one text: the pool has killed it long before, unless the pool's own process
was killed. It never imports entrostat, hence no torch: it starts in the time that the
verifier's own imports take.

Lines of JSON come in, each a list of (answer, completion). A line of JSON goes out for
each pair, {"score": 1.0} or {"error": "..."}; the first line out says that the worker
is ready. The verifier's file also has TRIAL, an answer, and spell(answer), a right
completion, to try the verifier on.
"""

import contextlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

MEMORY = 4 << 30
"""Bytes of address space; a text that makes the verifier ask for more is not scored."""


def _bound_memory() -> None:
    # Windows has no such module, and some systems refuse the limit
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@contextlib.contextmanager
def _ends_after(seconds: float) -> Iterator[None]:
    """The signal's own action ends the process, in the midst of C code too, where a
    handler would wait."""
    # Windows has none
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(path: str, name: str, seconds: str) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    # what a library prints must not be taken for a score
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _bound_memory()
    verifier = _loaded(path)
    score = getattr(verifier, name)
    # what it imports, and its parser's tables, before any text's time runs
    with contextlib.suppress(Exception):
        score(verifier.TRIAL, verifier.spell(verifier.TRIAL))
    print("{}", file=out, flush=True)
    for line in sys.stdin.buffer:
        for answer, completion in json.loads(line):
            try:
                with _ends_after(float(seconds)):
                    verdict = {"score": float(score(answer, completion))}
            except Exception as error:
                said = str(error)[:200]
                verdict = {"error": f"threw {type(error).__name__}: {said}"}
            print(json.dumps(verdict), file=out, flush=True)


def _loaded(path: str) -> Any:
    """The module in that file, whatever package it is of."""
    spec = importlib.util.spec_from_file_location("verifier", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
