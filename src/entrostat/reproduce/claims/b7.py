"""Which tokens the clip takes, by their probability (arXiv 2602.09782's ablation of clip
probability).

It is read from b2's measurement: the mean old probability of the tokens that clip-high
takes, static and dynamic.
"""

import math

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.effects import EffectJob, Rows, level
from entrostat.reproduce.judge import (
    SHARE,
    SIGNED,
    above,
    below,
    conclude,
    differences,
    spread,
)
from entrostat.reproduce.ladder import DYNAMIC, PLAIN, arm, job
from entrostat.reproduce.runs import Records


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """b2's measurement."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The mean old probability p of the tokens that clip-high takes.

    It is under that of all tokens that clip-high could take, and higher when dynamic.
    """
    rows = records[job(mode)]["rows"]
    static, dynamic = arm(PLAIN), arm(DYNAMIC["high"])
    by_static = _mean_p(rows, static, "clip_high_p", "clip_high")
    by_dynamic = _mean_p(rows, dynamic, "clip_high_p", "clip_high")
    positive = _mean_p(rows, static, "positive_p", "positive")
    under, shifted = (
        differences(by_static, positive),
        differences(by_dynamic, by_static),
    )
    taken = "mean p of clip-high tokens"
    parts = [
        below(f"static: {taken} - of all with A > 0", under, limits=SIGNED),
        above(f"{taken}, dynamic - static", shifted, limits=SIGNED),
    ]
    numbers = {
        f"static: {taken}": spread(by_static, limits=SHARE),
        f"dynamic: {taken}": spread(by_dynamic, limits=SHARE),
        "mean p of tokens with A > 0": spread(positive, limits=SHARE),
    }
    return conclude(parts, numbers)


def _mean_p(rows: Rows, branch: int, total: str, share: str) -> list[float]:
    """A branch's sum of p over some tokens by their share of all tokens, one per seed.

    nan where there is no such token.
    """
    means: list[float] = []
    pairs = zip(level(rows, branch, total), level(rows, branch, share), strict=True)
    for sum_of_p, of_all in pairs:
        means.append(sum_of_p / of_all if of_all else math.nan)
    return means


CLAIM = Claim(
    name="b7",
    statement=(
        "A static clip-high takes mostly unlikely tokens; the dynamic one shifts it to "
        "likely ones"
    ),
    source=(
        "arXiv 2602.09782 has such an ablation; what it should show is derived here from "
        "the thresholds' form"
    ),
    criterion=(
        "b2's measurement: at 0.2/0.2 the mean old probability of the tokens that clip-high "
        "takes is under that of all tokens with A > 0, and with the dynamic upper "
        "threshold it is over that at 0.2/0.2 (95% intervals over 8 seeds)"
    ),
    measure="probability below that of the tokens it could take",
    use=(
        "Use the old probability to see which tokens a clip takes: a static high of 0.2 "
        "can take no token over 0.83; do not choose the dynamic threshold to reach likely "
        "tokens: those that it takes have 0.45 on average, against 0.42"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
