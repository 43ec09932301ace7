"""Training runs of a bench: two at a time, one thread each, a line in a file of results as each one ends.

A stopped set goes on where it was, also on another machine: what has a line is not run again, and a run whose folder is
there is resumed.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

Lines = Mapping[str, Mapping[str, Any]]
"""The file's records by key."""


class Job(Protocol):
    """A run of `entrostat train`."""

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        ...

    @property
    def words(self) -> Sequence[str]:
        """Of the command line, without the folder."""
        ...


J = TypeVar("J", bound=Job)


def read(result: Path) -> dict[str, dict[str, Any]]:
    """The file's records by key; none where there is no file."""
    lines = result.read_text().splitlines() if result.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def train_all(
    root: Path,
    result: Path,
    jobs: Callable[[Lines], Iterable[J]],
    measured: Callable[[Path, J], Mapping[str, Any]],
    *,
    until: float = float("inf"),
) -> None:
    """Trains what has no line yet.

    Args:
        root: folder of the runs' folders.
        jobs: of what is known so far, all jobs that are known by now, those that most depends on first.
        measured: what of a run's folder goes into its line.
        until: time.monotonic() after which no run begins.
    """
    lock = threading.Lock()
    begun: set[str] = set()
    running: set[str] = set()

    def next_job() -> J | None:
        known = read(result)
        for job in jobs(known):
            if job.key not in known and job.key not in begun:
                begun.add(job.key)
                running.add(job.key)
                return job
        return None

    def train(job: J) -> None:
        if not _trained(root, job):
            return
        command = " ".join(["entrostat train", *job.words])
        record = {"key": job.key, "command": command, **measured(_folder(root, job), job)}
        with lock, result.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{job.key} done", file=sys.stderr, flush=True)

    def work() -> None:
        while time.monotonic() < until:
            with lock:
                job = next_job()
                waits = job is None and bool(running)
            if job is not None:
                try:
                    train(job)
                finally:
                    running.discard(job.key)
            elif waits:
                # a run in progress may be what others wait for
                time.sleep(1)
            else:
                return

    with ThreadPoolExecutor(2) as pool:
        for worker in [pool.submit(work), pool.submit(work)]:
            worker.result()


def _folder(root: Path, job: Job) -> Path:
    name = job.key.replace(" / ", "--").replace("/", "--").replace(" ", "-")
    return root / name.replace(",", "").replace(":", "-")


def _trained(root: Path, job: Job) -> bool:
    """Trains one run, or what is missing of it. False, and a line that says why, where it fails."""
    out = _folder(root, job)
    if (out / "summary.json").exists():
        return True
    words = ["--resume", str(out)] if out.exists() else ["--out", str(out), *job.words]
    ended = subprocess.run([sys.executable, "-m", "entrostat", "train", *words], capture_output=True, text=True)
    if ended.returncode:
        print(f"{job.key}: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
    return ended.returncode == 0
