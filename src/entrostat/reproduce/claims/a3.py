"""Inequality 7 along a run: are both brackets of theorem 1 at least 0? (arXiv 2509.26114, figures 1 and 2)"""

from collections.abc import Callable
from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import SHARE, above, conclude, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import blind, over_seeds, true

EVERY = 10
"""Rollouts between dumps."""


def runs(mode: Mode) -> dict[str, list[Job]]:
    """.2/.2 under both rewards, three seeds, with dumps."""
    plain: dict[str, Any] = {
        "dump_every": EVERY,
        "eval_at": (),
        "eval_problems": 2,
        "eval_samples": 1,
    }
    setups: dict[str, Callable[..., Job]] = {"random": blind, "true": true}
    seeds = mode.repeats(3)
    return {
        name: [setup(mode, seed, make_method("grpo"), **plain) for seed in seeds]
        for name, setup in setups.items()
    }


def jobs(mode: Mode, records: Records) -> list[Job]:
    """All of them."""
    return [job for found in runs(mode).values() for job in found]


def judge(mode: Mode, records: Records) -> Result:
    """Each bracket over 0, under each reward."""
    parts, numbers = [], {}
    for reward, found in runs(mode).items():
        for at, bracket in enumerate(("bracket_low", "bracket_high")):
            values = over_seeds(
                records, found, lambda record, b=bracket: record["tokens"][b]
            )
            parts.append(above(f"{reward} reward: {bracket}, nats per token", values))
            positive = over_seeds(
                records,
                found,
                lambda record, i=at: _positive(record["tokens"]["brackets"], i),
            )
            numbers[f"{reward} reward: share of dumped rollouts with {bracket} > 0"] = (
                spread(positive, limits=SHARE)._asdict()
            )
    return conclude(parts, numbers)


def _positive(brackets: list[list[float]], at: int) -> float:
    return sum(pair[at] > 0 for pair in brackets) / len(brackets)


CLAIM = Claim(
    name="a3",
    statement="Inequality 7: on average along a run both brackets of theorem 1 are positive",
    source="arXiv 2509.26114, inequality 7, figures 1 and 2",
    criterion=(
        "runs at .2/.2, 3 seeds, all tokens of every 10th rollout: the mean of each bracket over 0 under a random (60 "
        "rollouts) and under the true reward (100 rollouts), 95% intervals over seeds"
    ),
    measure="nats per token of the clip-low bracket, random reward",
    use=(
        "Expect clip-low to push entropy up and clip-high to push it down over a run; do not count on it in each "
        "rollout: under the true reward clip-high's bracket was negative in 4 of 30"
    ),
    jobs=jobs,
    judge=judge,
)
