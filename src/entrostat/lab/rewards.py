"""Rewards of the lab: the task's verifier, or a random draw that knows nothing of the answer."""

from collections.abc import Callable
from typing import Any

from entrostat.lab.blind import check_reward, random_rewards
from entrostat.lab.source import Judged
from entrostat.lab.tasks import Problem, ProblemSource

UNSCORED = "unscored"
"""What the log calls the share of completions that the verifier gave no verdict on."""


def make_reward(
    reward: str, task: ProblemSource, seed: int, rank: int = 0, ranks: int = 1
) -> Callable[..., list[float | None]]:
    """A reward function in TRL's signature, for the completions of one rank of several, each with equally many.

    Random rewards are those of arXiv 2509.26114's section on random rewards: independent of prompt and completion,
    Bernoulli(P) or N(0, 1), from a generator keyed by seed and optimizer step, so that a resumed run draws the same,
    and so do ranks together. Of a data set's verifier the share UNSCORED is logged.
    """
    check_reward(reward)

    def verified(
        prompts: list[str],
        completions: list[str],
        key: list[str],
        data: list[dict[str, Any]],
        log_metric: Any,
        **_: Any,
    ) -> list[float | None]:
        scores = task.judge(
            [Problem(*one) for one in zip(prompts, key, data, strict=True)], completions
        )
        if isinstance(task, Judged):
            log_metric(UNSCORED, scores.count(None) / len(scores))
        return scores

    def drawn(
        prompts: list[str], completions: list[str], trainer_state: Any, **_: Any
    ) -> list[float | None]:
        n = len(completions)
        everyones = random_rewards(
            reward, n * ranks, f"{reward}/{seed}/{trainer_state.global_step}"
        )
        return list(everyones[rank * n :][:n])

    return verified if reward == "true" else drawn
