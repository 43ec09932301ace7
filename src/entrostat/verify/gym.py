"""The verifier of reasoning-gym's tasks: a problem is made again from its task, seed
and number, and its scorer asked.

Only the standard library and reasoning-gym (extra `gym`): a worker loads this file by
itself. Partial credit is no credit: many tasks give some to any text that has the
answer in it.
"""

import functools
import json
from typing import Any

SIZE = 1 << 20
"""Problems of a task and seed."""
TRIAL = '["leg_counting", 0, 0]'
"""An answer that a worker warms up on."""


def gym(answer: str, completion: str) -> float:
    """1.0 if the text of the last <answer></answer> of `completion` has the full score,
    else 0.0.

    Args:
        answer: JSON, [task, seed, number].
    """
    _, opened, tail = completion.rpartition("<answer>")
    given, closed, _ = tail.partition("</answer>")
    if not opened or not closed:
        return 0.0
    problems, problem = _problem(answer)
    score = problems.score_answer(given.strip(), problem)
    # some scorers work out 1 from fractions
    return float(score >= 1 - 1e-9)


def spell(answer: str) -> str:
    """A right completion."""
    _, problem = _problem(answer)
    return f"<answer>{problem['answer']}</answer>"


@functools.lru_cache(maxsize=4096)
def _problem(answer: str) -> tuple[Any, dict[str, Any]]:
    """The problems of the answer's task and seed, whose scorer is asked, and its
    own."""
    task, seed, number = json.loads(answer)
    problems = _problems(task, seed)
    return problems, problems[number]


@functools.lru_cache(maxsize=256)
def _problems(task: str, seed: int) -> Any:
    # an extra, which a worker has
    import reasoning_gym

    return reasoning_gym.create_dataset(task, size=SIZE, seed=seed)
