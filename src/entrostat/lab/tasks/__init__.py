"""The registry of the lab's tasks.

>>> task = make_task("countdown")
>>> problem = task.problems(1, split="train", seed=0)[0]
>>> task.score(problem, "no expression")
0.0
"""

from collections.abc import Mapping
from types import MappingProxyType

from entrostat.lab.tasks.base import (
    Problem,
    ProblemSource,
    Split,
    Task,
    check_draw,
    drawn_from,
    split_of,
)
from entrostat.lab.tasks.chain import Chain
from entrostat.lab.tasks.countdown import Countdown
from entrostat.lab.tasks.path import PathTask
from entrostat.lab.tasks.times import Times
from entrostat.texts import near

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (Countdown(), PathTask(), Chain(), Times())}
)
"""Every task by its name."""


def make_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ValueError: there is none; the message names the near ones and all of them.
    """
    if name in TASKS:
        return TASKS[name]
    raise ValueError(f"unknown task {name!r}: {near(name, TASKS)}")


__all__ = [
    "TASKS",
    "Problem",
    "ProblemSource",
    "Split",
    "Task",
    "check_draw",
    "drawn_from",
    "make_task",
    "split_of",
]
