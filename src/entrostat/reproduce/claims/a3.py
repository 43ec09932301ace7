"""Inequality 7 of arXiv 2509.26114: both brackets of theorem 1 are positive (figures 1
and 2).

Both are measured along whole runs at 0.2/0.2, from the tokens of every 10th rollout.
"""

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import SHARE, above, conclude, spread
from entrostat.reproduce.runs import Job, Record, Records
from entrostat.reproduce.setups import HARDLY_SCORED, all_jobs, blind, over_seeds, true

EVERY = 10
"""Rollouts between dumps."""
SIDES = ("clip-low", "clip-high")
"""Whose brackets a record has, in this order."""


def runs(mode: Mode) -> dict[str, list[Job]]:
    """0.2/0.2 under both rewards, three seeds, with dumps and hardly any scoring."""
    seeds, grpo = mode.repeats(3), make_method("grpo")
    options = {"dump_every": EVERY, "eval_at": (), **HARDLY_SCORED}
    return {
        "random": blind(mode, seeds, grpo, **options),
        "true": true(mode, seeds, grpo, **options),
    }


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs under both rewards."""
    return all_jobs(runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """Each bracket over 0, under each reward."""
    parts = []
    numbers = {}
    for reward, of_reward in runs(mode).items():
        for side, name in enumerate(SIDES):
            means = over_seeds(records, of_reward, _bracket, side)
            parts.append(
                above(f"{reward} reward: {name} bracket, nats per token", means)
            )
            shares = over_seeds(records, of_reward, _share_positive, side)
            what = f"share of dumped rollouts with a positive {name} bracket"
            numbers[f"{reward} reward: {what}"] = spread(shares, limits=SHARE)
    return conclude(parts, numbers)


def _bracket(record: Record, side: int) -> float:
    return record["tokens"][("bracket_low", "bracket_high")[side]]


def _share_positive(record: Record, side: int) -> float:
    brackets = record["tokens"]["brackets"]
    return sum(pair[side] > 0 for pair in brackets) / len(brackets)


CLAIM = Claim(
    name="a3",
    statement=(
        "Inequality 7: on average over a run, both brackets of theorem 1 are positive"
    ),
    source="arXiv 2509.26114, inequality 7, figures 1 and 2",
    criterion=(
        "Runs at 0.2/0.2, 3 seeds, all tokens of every 10th rollout. The mean of each "
        "bracket is over 0 under a random reward (60 rollouts) and under the true reward "
        "(100 rollouts), with 95% intervals over seeds"
    ),
    measure="nats per token of the clip-low bracket, random reward",
    use=(
        "Expect clip-low to push entropy up and clip-high to push it down over a run; do "
        "not count on it in each rollout: under the true reward the clip-high bracket was "
        "negative in 4 of 30 rollouts"
    ),
    jobs=jobs,
    judge=judge,
)
