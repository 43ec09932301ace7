"""Path: walk from a start to a goal along the edges of a small directed graph, no node
twice."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import final

from entrostat.lab.tasks.base import Problem, Split, Task, check_draw, split_of

NODES = "abcdef"
EDGES = 8
LEAST_ANSWERS = 2
"""Right answers of every problem."""

_EVERY_EDGE = tuple(tail + head for tail, head in permutations(NODES, 2))
_LONGEST = 2 * len(NODES) - 1
"""Characters of a path through all nodes."""


@final
@dataclass(frozen=True)
class PathTask(Task):
    """Prompts like "ab,ac,bf,ce,ef:a>f=", answers like "a>c>e>f".

    A directed graph on the nodes a to f, as its `EDGES` edges from tail to head in
    alphabetical order, then the start and the goal. Graphs, starts and goals are drawn
    uniformly; kept are those with no edge from start to goal and at least
    `LEAST_ANSWERS` right answers. An answer is right if it is the nodes of a path with
    ">" between them: it begins at the start, ends at the goal, follows an edge at every
    step and visits no node twice. Nothing may surround it, not even a space.

    The pool has millions of problems, so train problems do not repeat in practice. A
    renaming of the nodes makes another problem, and there are 720 of them: the splits
    hold apart what the model reads, not graphs up to names.
    """

    name = "path"
    alphabet = f"{NODES},:>="
    max_completion = 14
    held_out_means = (
        "No test problem occurs in training as it is written. "
        "With other names for its nodes nearly every one does."
    )

    def problems(self, n: int, *, split: Split, seed: int) -> list[Problem]:
        check_draw(n, split)
        rng = random.Random(f"{self.name}/{split}/{seed}")
        drawn: dict[str, Problem] = {}
        while len(drawn) < n:
            problem = _problem(rng.sample(_EVERY_EDGE, EDGES), rng.sample(NODES, 2))
            if problem is not None and split_of(problem.key) == split:
                drawn.setdefault(problem.key, problem)
        return list(drawn.values())

    def score(self, problem: Problem, completion: str) -> float:
        # the length first: what follows takes no longer than the longest path
        if len(completion) > _LONGEST or len(completion) % 2 == 0:
            return 0.0
        nodes, signs = completion[::2], completion[1::2]
        if set(signs) != {">"} or len(set(nodes)) < len(nodes):
            return 0.0
        if nodes[0] != problem.data["start"] or nodes[-1] != problem.data["goal"]:
            return 0.0
        steps = {tail + head for tail, head in pairwise(nodes)}
        return float(steps <= set(problem.data["edges"]))

    def solve(self, problem: Problem, rng: random.Random) -> str:
        """One of the right answers, each equally likely."""
        data = problem.data
        return rng.choice(_paths(data["edges"], data["start"], data["goal"]))


def _problem(edges: Iterable[str], ends: list[str]) -> Problem | None:
    """The problem of these edges and ends, or None if it is not one of the pool."""
    edges = sorted(edges)
    start, goal = ends
    if start + goal in edges or len(_paths(edges, start, goal)) < LEAST_ANSWERS:
        return None
    key = f"{','.join(edges)}:{start}>{goal}"
    data = {"edges": edges, "start": start, "goal": goal}
    return Problem(prompt=f"{key}=", key=key, data=data)


def _paths(edges: list[str], start: str, goal: str) -> list[str]:
    """Every right answer, in a fixed order."""
    paths = []
    pending = [start]
    while pending:
        path = pending.pop()
        if path[-1] == goal:
            paths.append(path)
            continue
        for tail, head in edges:
            if tail == path[-1] and head not in path:
                pending.append(f"{path}>{head}")
    return paths
