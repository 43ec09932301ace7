"""Whom the clip takes, by the token's probability (arXiv 2602.09782's ablation of clip probability)."""

import math
from collections.abc import Sequence
from typing import Any

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.effects import EffectJob, level
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
    """b2's."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The old probability of tokens that clip-high takes: under that of all it could take, and higher when dynamic."""
    rows = records[job(mode)]["rows"]
    static, dynamic = arm(PLAIN), arm(DYNAMIC["high"])
    taken = {
        at: _ratio(rows, at, "clip_high_p", "clip_high") for at in (static, dynamic)
    }
    could = _ratio(rows, static, "positive_p", "positive")
    parts = [
        below(
            "static: mean p of clip-high tokens - of all with A > 0",
            differences(taken[static], could),
            limits=SIGNED,
        ),
        above(
            "mean p of clip-high tokens, dynamic - static",
            differences(taken[dynamic], taken[static]),
            limits=SIGNED,
        ),
    ]
    numbers = {
        "static: mean p of clip-high tokens": spread(
            taken[static], limits=SHARE
        )._asdict(),
        "dynamic: mean p of clip-high tokens": spread(
            taken[dynamic], limits=SHARE
        )._asdict(),
        "mean p of tokens with A > 0": spread(could, limits=SHARE)._asdict(),
    }
    return conclude(parts, numbers)


def _ratio(
    rows: Sequence[dict[str, Any]], at: int, above: str, below: str
) -> list[float]:
    """Of two of a branch's numbers, a value a seed; nan where there is no such token."""
    pairs = zip(level(rows, at, above), level(rows, at, below), strict=True)
    return [a / b if b else math.nan for a, b in pairs]


CLAIM = Claim(
    name="b7",
    statement="A static clip-high takes unlikely tokens above all; the dynamic one shifts it to likely ones",
    source="arXiv 2602.09782 has such an ablation; what it should show is derived here from the thresholds' form",
    criterion=(
        "b2's measurement: at .2/.2 the mean old probability of the tokens that clip-high takes is under that of all "
        "tokens with A > 0, and with the dynamic upper threshold it is over that at .2/.2 (95% intervals over 8 seeds)"
    ),
    measure="probability below that of the tokens it could take",
    use=(
        "Use the old probability to see whom a clip takes: a static high of .2 can take no token over .83; do not "
        "choose the dynamic threshold to reach likely tokens: those that it takes have .45 on average, not .42"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
