"""The verifier of reasoning-gym's tasks: a problem is made again from its task, seed and number, and its scorer asked.

Only the standard library and reasoning-gym (extra `gym`): a worker loads this file by itself. Partial credit is no
credit: many tasks give some to any text that has the answer in it.
"""

import functools
import json
from typing import Any

SIZE = 1 << 20
"""Problems of a task and seed."""
TRIAL = '["leg_counting", 0, 0]'
"""An answer that a worker warms up on."""


def gym(answer: str, completion: str) -> float:
    """1.0 if the text of the last <answer></answer> of `completion` has the full score, else 0.0.

    `answer`: JSON, [task, seed, number].
    """
    _, opened, tail = completion.rpartition("<answer>")
    given, closed, _ = tail.partition("</answer>")
    if not opened or not closed:
        return 0.0
    data, entry = _problem(answer)
    return float(data.score_answer(given.strip(), entry) >= 1 - 1e-9)


def spell(answer: str) -> str:
    """A right completion."""
    return f"<answer>{_problem(answer)[1]['answer']}</answer>"


@functools.lru_cache(maxsize=4096)
def _problem(answer: str) -> tuple[Any, dict[str, Any]]:
    task, seed, number = json.loads(answer)
    data = _data(task, seed)
    return data, data[number]


@functools.lru_cache(maxsize=256)
def _data(task: str, seed: int) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, size=SIZE, seed=seed)
