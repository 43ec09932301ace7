"""Rewards of the lab in TRL's signature: the verifier's, or a random draw that knows
nothing of the answer."""

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
    """A reward function in TRL's signature, for the completions of one rank of several,
    each with equally many.

    Random rewards are those of arXiv 2509.26114's section on random rewards: independent
    of prompt and completion, Bernoulli(P) or N(0, 1). Their generator is keyed by seed
    and optimizer step, so that a resumed run draws the same, and so do ranks together.
    Of a data set's verifier the share UNSCORED is logged.
    """
    check_reward(reward)

    # TRL gives columns of the data set by their names, each in the completions' order
    def verified(
        prompts: list[str],
        completions: list[str],
        key: list[str],
        data: list[dict[str, Any]],
        log_metric: Any,
        **_: Any,
    ) -> list[float | None]:
        problems = list(map(Problem, prompts, key, data))
        scores = task.judge(problems, completions)
        if isinstance(task, Judged):
            log_metric(UNSCORED, scores.count(None) / len(scores))
        return scores

    def drawn(
        prompts: list[str], completions: list[str], trainer_state: Any, **_: Any
    ) -> list[float | None]:
        own = len(completions)
        draw = f"{reward}/{seed}/{trainer_state.global_step}"
        rewards_of_all = random_rewards(reward, own * ranks, draw)
        return list(rewards_of_all[rank * own :][:own])

    return verified if reward == "true" else drawn
