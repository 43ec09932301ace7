"""Who is told of a run as it goes, and who may stop it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any


class Watcher:
    """Is told of a run as it goes. This one does not listen; entrostat.lab.show has one
    for terminals."""

    def line(self, metrics: dict[str, Any]) -> None:
        """A line of metrics.jsonl, as it is written."""

    def status(self, text: str) -> None:
        """What goes on until the next line; "" at the end of the run."""

    def note(self, text: str) -> None:
        """What has happened."""


class Stop:
    """Whether a run is to end after this rollout: Ctrl-C has come, or `parent`, who waits
    for it, is gone."""

    def __init__(self, watcher: Watcher, parent: int | None):
        self.watcher = watcher
        self.parent = parent
        self.interrupted = False

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        # a process whose parent dies gets another one
        orphaned = self.parent is not None and os.getppid() != self.parent
        return self.interrupted or orphaned

    def _interrupt(self, _signal: int, _frame: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.watcher.note(
            "stopping after this rollout; press Ctrl-C again to stop at once"
        )

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes Ctrl-C inside; a second one stops at once."""
        try:
            before = signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:
            # not the main thread: Ctrl-C is somebody else's
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
