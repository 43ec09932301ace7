"""Under the true reward entropy is higher without clip-high, and lower without clip-low
(arXiv 2509.26114).

Both sides of the clip are the base, and each of them is switched off as an arm, on two
tasks.
"""

import math

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.effects import (
    BOTH,
    EPS,
    EffectJob,
    change,
    clip_shares,
    effect,
    regime,
)
from entrostat.reproduce.judge import above, below, conclude, spread
from entrostat.reproduce.runs import Records

TASKS = ("countdown", "chain")
"""On chain the base model is confident and wrong."""
BOTH_ON, HIGH_OFF, LOW_OFF = range(3)
"""The arms."""
METHODS = (
    BOTH,
    make_method("grpo", low=EPS, high=math.inf),
    make_method("grpo", low=1.0, high=EPS),
)


def job(mode: Mode, task: str) -> EffectJob:
    """The three arms on a task."""
    point = regime(mode, task=task, reward="true", scale_rewards="group")
    return EffectJob(point, METHODS, mode.count(8, fast=3))


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement per task."""
    return [job(mode, task) for task in TASKS]


def judge(mode: Mode, records: Records) -> Result:
    """Each side switched off, against both on."""
    parts = []
    numbers = {}
    for task in TASKS:
        rows = records[job(mode, task)]["rows"]
        for side, arm, check in (("high", HIGH_OFF, above), ("low", LOW_OFF, below)):
            what = f"{task}: clip-{side} off, effect on ln H per rollout"
            parts.append(check(what, effect(rows, arm)))
        drift = change(rows, BOTH_ON)
        numbers[f"{task} with both on: change of ln H per rollout"] = spread(drift)
        numbers |= clip_shares(rows, BOTH_ON, f"{task} with both on")
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a7",
    statement=(
        "True reward: switching clip-high off raises entropy, switching clip-low off "
        "lowers it"
    ),
    source="arXiv 2509.26114, runs with the true reward",
    criterion=(
        "Paired branches under the true reward at a4's batch and step with a window of "
        f"{EPS}, on countdown and on chain, 8 seeds of 8 rollouts from the base model. "
        "Against both sides on, ln H after a rollout is higher with clip-high off and "
        "lower with clip-low off, on each task (95% intervals over seeds)"
    ),
    measure="ln H per rollout that switching clip-high off adds on countdown",
    use=(
        "Use a larger high against a falling entropy, and a tighter low where "
        "E4/change_clipped outweighs E3/change_clipped in your log; do not tighten low "
        "where a model is confident and wrong: there it costs entropy"
    ),
    scale=(
        "chain's base model was taught wrong steps as the likely ones, which no model of "
        "the paper was; on countdown both sides are as claimed"
    ),
    jobs=jobs,
    judge=judge,
)
