"""Which way round: a small low and a large high raise entropy, not a large low and a small high.

Public notes often state it backwards, as if a threshold let entropy through. It does not: a threshold takes gradients
away. Clip-low takes those that push a token further down that has already fallen, clip-high those that lift one that
has already risen. Most of both are unlikely tokens, so a tight low keeps entropy and a tight high costs it.
"""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import a4, a5
from entrostat.reproduce.effects import EffectJob, regime
from entrostat.reproduce.judge import conclude
from entrostat.reproduce.runs import Records

TRUE_VALUES = (0.025, 0.05, 0.1, 0.2)
"""Under the true reward: wider than a5's, since a high of .0125 takes so much there that its effect is past its top."""


def true_job(mode: Mode) -> EffectJob:
    """Both ladders under the true reward."""
    point = regime(mode, reward="true", scale_rewards="group")
    return EffectJob(
        point, a5.ladder(TRUE_VALUES), len(mode.repeats(10, fast=3)), first_seed=2000
    )


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """a5's ladders, and the same under the true reward."""
    return [a5.job(mode), true_job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the effect in ln(threshold), four times."""
    random = a5.slope_parts(records[a5.job(mode)]["rows"], a5.VALUES, "random")
    rows = records[true_job(mode)]["rows"]
    return conclude(
        [*random, *a5.slope_parts(rows, TRUE_VALUES, "true")],
        a5.rung_numbers(rows, TRUE_VALUES),
    )


CLAIM = Claim(
    name="c1",
    statement="A smaller low and a larger high raise entropy; the reverse, which is often written, is wrong",
    source="arXiv 2509.26114; the misreading is from public notes on it and on clip-higher",
    criterion=(
        "a5's ladders under a random reward, and .025, .05, .1, .2 on countdown under the true one, 10 seeds of 8 "
        "rollouts: the slope of the effect on ln H in ln(threshold) under 0 for low and over 0 for high, all four (95% "
        "intervals); fails if one is significantly the other way round"
    ),
    measure="ln H a rollout per e-fold of low, random reward",
    use=(
        "Use a smaller low or a larger high to raise entropy, the reverse to lower it; do not follow notes that say "
        "the opposite"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
)
