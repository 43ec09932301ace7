"""The set-ups of claims on whole runs, and what is read off them. What a clip does in one rollout: effects.py.

All: rollouts of 16 prompts x 16 samples, 8 updates, AdamW. Learning: chain, where there is much to learn, on the fast
engine at 2e-4, 200 rollouts. Two of before, which a few claims still stand on, on TRL's engine with the countdown model
at 1e-4. Blind: the random rewards of arXiv 2509.26114, advantages R - mean without the group's deviation, 60 rollouts.
True: the task's own verifier, 100 rollouts, scored half way and at the end on all 297 held-out problems x 32 samples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entrostat.estimate import pass_at_k
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Mode
from entrostat.reproduce.runs import Job, Records

LATE = 10
"""Rollouts at the end whose mean entropy is the entropy a run ends at."""
LEARNING_SEED = 2000
"""The first of `learning`: those that chose its learning rate are below."""
INF = float("inf")
STATIC = {
    "low only": make_method("grpo", low=0.2, high=INF),
    "high only": make_method("grpo", low=1.0, high=0.2),
    "both": make_method("grpo"),
    "none": make_method("grpo", low=1.0, high=INF),
}
"""The four ways to switch the sides of the clip on and off."""

Statistic = Callable[[dict[str, Any]], float]


def blind(mode: Mode, seed: int, method: Method, **options: Any) -> Job:
    """A run under random rewards."""
    usual: dict[str, Any] = dict(
        reward="bernoulli:0.5", scale_rewards="none", eval_problems=2, eval_samples=1
    )
    return _job(method, seed, **{"steps": 12 if mode.fast else 60, **usual, **options})


def true(mode: Mode, seed: int, method: Method, **options: Any) -> Job:
    """A run under the task's verifier, scored half way and at the end."""
    steps, problems, samples = (16, 32, 8) if mode.fast else (100, 297, 32)
    usual: dict[str, Any] = dict(
        eval_at=(steps // 2,), eval_problems=problems, eval_samples=samples
    )
    return _job(method, seed, **{"steps": steps, **usual, **options})


def learning(mode: Mode, seed: int, method: Method, **options: Any) -> Job:
    """A run on chain, where there is much to learn.

    At 2e-4: of 1e-4, 2e-4 and 4e-4 the best for grpo, id and clip-lower alike, on validation problems, seeds 0 and 1
    (docs/results/reproduce/b8.md). Scored half way and at the end, at the temperature that is best on validation
    problems.
    """
    steps, problems, samples = (16, 32, 8) if mode.fast else (200, 128, 32)
    usual: dict[str, Any] = dict(
        task="chain",
        engine="fast",
        learning_rate=2e-4,
        temperatures=(0.4,),
        eval_at=(steps // 2,),
        eval_problems=problems,
        eval_samples=samples,
    )
    return _job(method, LEARNING_SEED + seed, **{"steps": steps, **usual, **options})


def _job(method: Method, seed: int, **options: Any) -> Job:
    return Job(
        method, TrainConfig(seed=seed, prompts=16, samples=16, map_every=0, **options)
    )


def over_seeds(
    records: Records, jobs: Sequence[Job], statistic: Statistic
) -> list[float]:
    """The statistic of each job's record."""
    return [statistic(records[job]) for job in jobs]


def late_entropy(record: dict[str, Any]) -> float:
    """Mean token entropy of the last rollouts, nats."""
    return mean_of(record["entropy"][-LATE:])


def gain(record: dict[str, Any]) -> float:
    """Entropy at the end less that of the base model, nats."""
    return late_entropy(record) - start_entropy(record)


def start_entropy(record: dict[str, Any]) -> float:
    """Of the base model: the same for all runs but for the prompts of the first rollout."""
    return record["entropy"][0]


def mean_of(values: Sequence[float | None]) -> float:
    """Of a record's column, without the rollouts in which nothing was trained on."""
    return float(np.mean([value for value in values if value is not None]))


def share(side: str) -> Statistic:
    """Share of the trained tokens that this side of the clip took over the run: clip_low or clip_high."""
    return lambda record: mean_of(record[side])


def mean_score(when: str = "end") -> Statistic:
    """mean@n on the held-out problems, at the run's best temperature where there are several."""
    return lambda record: (
        float(np.mean(record["scores"][when]["correct"]))
        / record["scores"][when]["samples"]
    )


def pass_score(when: str = "end") -> Statistic:
    """pass@n on the held-out problems, n the samples drawn of each; likewise."""

    def statistic(record: dict[str, Any]) -> float:
        scores = record["scores"][when]
        return float(
            np.mean(pass_at_k(scores["samples"], scores["correct"], scores["samples"]))
        )

    return statistic


def halfway(job: Job) -> str:
    """What the scores half way through a run are called."""
    return str(job.config.eval_at[0])
