"""The set-ups of claims on whole runs, and what is read off their records.

What a clip does in one rollout is measured otherwise: effects.py.

All runs have rollouts of 16 prompts x 16 samples, 8 updates per rollout, and AdamW.

- `learning`: chain, where there is much to learn, on the fast engine at 2e-4, 200
  rollouts.
- `blind`: the random rewards of arXiv 2509.26114, with advantages R - mean without the
  group's deviation, on TRL's engine with the countdown model at 1e-4, 60 rollouts.
- `true`: the same under the task's own verifier, 100 rollouts, scored half way and at
  the end on all 297 held-out problems x 32 samples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from entrostat.estimate import pass_at_k
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import Method
from entrostat.reproduce.claim import Mode
from entrostat.reproduce.runs import Job, Record, Records

LATE = 10
"""Rollouts at the end whose mean entropy is the entropy that a run ends at."""
LEARNING_SEED = 2000
"""The first seed of `learning`. The seeds that chose its learning rate are below it."""

Statistic = Callable[..., float]
"""A number of a record: a function of the record, and perhaps of more."""
HARDLY_SCORED: dict[str, Any] = {"eval_problems": 2, "eval_samples": 1}
"""Options of runs of which entropy alone is read."""
Arms = dict[Any, list[Job]]
"""The runs of a comparison: one job per seed for each arm."""


def blind(
    mode: Mode, seeds: Iterable[int], method: Method, **options: Any
) -> list[Job]:
    """Runs under random rewards, one per seed."""
    setup = {"steps": 12 if mode.fast else 60}
    setup |= {"reward": "bernoulli:0.5", "scale_rewards": "none"}
    return _runs(seeds, method, setup | HARDLY_SCORED | options)


def true(mode: Mode, seeds: Iterable[int], method: Method, **options: Any) -> list[Job]:
    """Runs under the task's verifier, scored half way and at the end, one per seed."""
    return _runs(seeds, method, _scored(mode, 100, 297) | options)


def learning(mode: Mode, seeds: Iterable[int], method: Method) -> list[Job]:
    """Runs on chain, where there is much to learn, one per seed.

    The learning rate is 2e-4: of 1e-4, 2e-4 and 4e-4 it is the best one for grpo, id
    and clip-lower alike, on validation problems, seeds 0 and 1
    (docs/results/reproduce/b8.md). The runs are scored half way and at the end, at the
    temperature that is best on validation problems.
    """
    setup = {"task": "chain", "engine": "fast", "learning_rate": 2e-4}
    setup |= {"temperatures": (0.4,)} | _scored(mode, 200, 128)
    return _runs(seeds, method, setup, first=LEARNING_SEED)


def _scored(mode: Mode, steps: int, problems: int) -> dict[str, Any]:
    """The length of a run that is scored half way and at the end, short when fast."""
    samples = 32
    if mode.fast:
        steps, problems, samples = 16, 32, 8
    return {
        "steps": steps,
        "eval_at": (steps // 2,),
        "eval_problems": problems,
        "eval_samples": samples,
    }


def _runs(
    seeds: Iterable[int], method: Method, options: dict[str, Any], first: int = 0
) -> list[Job]:
    common: dict[str, Any] = {"prompts": 16, "samples": 16, "map_every": 0, **options}
    return [Job(method, TrainConfig(seed=first + seed, **common)) for seed in seeds]


def arms(
    setup: Callable[..., list[Job]],
    mode: Mode,
    seeds: Iterable[int],
    methods: Mapping[Any, Method],
    **options: Any,
) -> Arms:
    """Each method's runs under a set-up, one per seed."""
    return {
        name: setup(mode, seeds, method, **options) for name, method in methods.items()
    }


def all_jobs(runs: Arms) -> list[Job]:
    """The runs of all arms, arm after arm."""
    return list(chain.from_iterable(runs.values()))


def over_seeds(
    records: Records, jobs: Sequence[Job], statistic: Statistic, *arguments: Any
) -> list[float]:
    """The statistic of each job's record; `arguments` are the statistic's own."""
    return [statistic(records[job], *arguments) for job in jobs]


def by_arm(
    records: Records, runs: Arms, statistic: Statistic, *arguments: Any
) -> dict[Any, list[float]]:
    """`over_seeds` of each arm."""
    return {
        name: over_seeds(records, jobs, statistic, *arguments)
        for name, jobs in runs.items()
    }


def late_entropy(record: Record) -> float:
    """Mean token entropy of the last rollouts, nats."""
    return _mean_of(record["entropy"][-LATE:])


def start_entropy(record: Record) -> float:
    """Of the base model, nats.

    It is the same for all runs but for the prompts of the first rollout.
    """
    return record["entropy"][0]


def gain(record: Record) -> float:
    """Entropy at the end less that of the base model, nats."""
    return late_entropy(record) - start_entropy(record)


def share(record: Record, side: str) -> float:
    """Share of the run's trained tokens that `clip_low` or `clip_high` took."""
    return _mean_of(record[side])


def mean_score(record: Record, when: str = "end") -> float:
    """mean@n on the held-out problems, n the samples drawn of each.

    It is at the run's best temperature where there are several.
    """
    scores = record["scores"][when]
    return float(np.mean(scores["correct"])) / scores["samples"]


def pass_score(record: Record, when: str = "end") -> float:
    """pass@n on the held-out problems, likewise."""
    scores = record["scores"][when]
    samples = scores["samples"]
    return float(np.mean(pass_at_k(samples, scores["correct"], samples)))


def score_entropy(record: Record, when: str) -> float:
    """Mean token entropy at a scoring, nats."""
    return record["scores"][when]["entropy"]


def halfway(job: Job) -> str:
    """The name of the scores half way through a run."""
    return str(job.config.eval_at[0])


def _mean_of(values: Sequence[float | None]) -> float:
    """Of a record's column, without the rollouts in which nothing was trained on."""
    # those have no number: None becomes nan
    return float(np.nanmean(np.array(values, dtype=np.float64)))
