"""True reward: without clip-high entropy is higher, without clip-low it is lower (arXiv 2509.26114)."""

import math

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.effects import (
    BOTH,
    EPS,
    EffectJob,
    change,
    effect,
    level,
    regime,
)
from entrostat.reproduce.judge import SHARE, above, below, conclude, spread
from entrostat.reproduce.runs import Records

TASKS = ("countdown", "chain")


def job(mode: Mode, task: str) -> EffectJob:
    """Both sides of the clip as the base; each switched off as an arm."""
    high_off = make_method("grpo", low=EPS, high=math.inf)
    low_off = make_method("grpo", low=1.0, high=EPS)
    point = regime(mode, task=task, reward="true", scale_rewards="group")
    return EffectJob(point, (BOTH, high_off, low_off), len(mode.repeats(8, fast=3)))


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement a task."""
    return [job(mode, task) for task in TASKS]


def judge(mode: Mode, records: Records) -> Result:
    """Each side switched off, against both on."""
    parts: list[Part] = []
    numbers = {}
    for task in TASKS:
        rows = records[job(mode, task)]["rows"]
        parts.append(
            above(f"{task}: clip-high off, effect on ln H a rollout", effect(rows, 1))
        )
        parts.append(
            below(f"{task}: clip-low off, effect on ln H a rollout", effect(rows, 2))
        )
        numbers[f"{task}: change of ln H a rollout with both on"] = spread(
            change(rows, 0)
        )._asdict()
        for side in ("clip_low", "clip_high"):
            numbers[f"{task}: {side} with both on"] = spread(
                level(rows, 0, side), limits=SHARE
            )._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a7",
    statement="True reward: switching clip-high off raises entropy, switching clip-low off lowers it",
    source="arXiv 2509.26114, runs with the true reward",
    criterion=(
        f"paired branches under the true reward at a4's batch, step and window of {EPS}, on countdown and on chain, 8 "
        "seeds of 8 rollouts from the base model: against both sides on, ln H after a rollout is higher with clip-high "
        "off and lower with clip-low off, on each task (95% intervals over seeds)"
    ),
    measure="ln H a rollout that switching clip-high off adds on countdown",
    use=(
        "Use a larger high against a falling entropy, and a tighter low where E4/change_clipped outweighs "
        "E3/change_clipped in your log; do not tighten low where a model is confident and wrong: there it costs entropy"
    ),
    scale=(
        "chain's base model was taught wrong steps as the likely ones, which no model of the paper was; on countdown "
        "both sides are as claimed"
    ),
    jobs=jobs,
    judge=judge,
)
