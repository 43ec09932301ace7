"""Which way round: a small low and a large high raise entropy, not a large low and a small
high.

Public notes often state it backwards, as if a threshold let entropy through. It does
not: a threshold takes gradients away. Clip-low takes those that push a token further
down that has already fallen, clip-high those that lift a token that has already risen.
Most of both are unlikely tokens, so a tight low keeps entropy and a tight high costs it.

a5's ladders are judged again, and the same ladders under the true reward.
"""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import a4, a5
from entrostat.reproduce.effects import EffectJob, regime
from entrostat.reproduce.judge import conclude
from entrostat.reproduce.runs import Records

TRUE_VALUES = (0.025, 0.05, 0.1, 0.2)
"""Under the true reward. They are wider than a5's: a high of 0.0125 takes so many tokens
there that its effect is past its top."""


def true_job(mode: Mode) -> EffectJob:
    """Both ladders under the true reward."""
    point = regime(mode, reward="true", scale_rewards="group")
    seeds = mode.count(10, fast=3)
    return EffectJob(point, a5.ladder(TRUE_VALUES), seeds, first_seed=2000)


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """a5's ladders, and the same under the true reward."""
    return [a5.job(mode), true_job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the effect over ln(threshold), four times."""
    under_random = records[a5.job(mode)]["rows"]
    under_true = records[true_job(mode)]["rows"]
    parts = a5.slope_parts(under_random, a5.VALUES, "random")
    parts += a5.slope_parts(under_true, TRUE_VALUES, "true")
    return conclude(parts, a5.rung_numbers(under_true, TRUE_VALUES))


CLAIM = Claim(
    name="c1",
    statement=(
        "A smaller low and a larger high raise entropy; the reverse, which is often "
        "written, is wrong"
    ),
    source=(
        "arXiv 2509.26114; the misreading is from public notes on it and on clip-higher"
    ),
    criterion=(
        "a5's ladders under a random reward, and 0.025, 0.05, 0.1 and 0.2 on countdown "
        "under the true one, 10 seeds of 8 rollouts: the slope of the effect on ln H over "
        "ln(threshold) is under 0 for low and over 0 for high, all four (95% intervals); "
        "it fails if one is significantly the other way round"
    ),
    measure="ln H per rollout and per factor e of low, random reward",
    use=(
        "Use a smaller low or a larger high to raise entropy, the reverse to lower it; do "
        "not follow notes that say the opposite"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
)
