"""Which way round: a small low and a large high raise entropy, not a large low and a small high.

Public notes often state it backwards, as if a threshold let entropy through. It does not: a threshold takes gradients
away. Clip-low takes those that push a token further down that has already fallen, clip-high those that lift one that
has already risen. Most of both are unlikely tokens, so a tight low keeps entropy and a tight high costs it.
"""

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import a4, a5
from entrostat.reproduce.effects import EffectJob
from entrostat.reproduce.judge import conclude
from entrostat.reproduce.runs import Records


def _jobs(mode: Mode) -> dict[str, EffectJob]:
    return {"random": a5.ladder_job(mode), "true": a5.ladder_job(mode, reward="true", scale_rewards="group")}


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """a5's ladders, and the same under the true reward."""
    return list(_jobs(mode).values())


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the effect in ln(threshold), four times."""
    parts: list[Part] = []
    for reward, job in _jobs(mode).items():
        parts += a5.slope_parts(records[job]["rows"], reward)
    return conclude(parts)


CLAIM = Claim(
    name="c1",
    statement="A smaller low and a larger high raise entropy; the reverse, which is often written, is wrong",
    source="arXiv 2509.26114; the misreading is from public notes on it and on clip-higher",
    criterion=(
        "a5's ladders under a random reward, and the same on countdown under the true one, 6 seeds of 8 rollouts: the "
        "slope of the effect on ln H in ln(threshold) under 0 for low and over 0 for high, all four (95% intervals); "
        "fails if one is significantly the other way round"
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
