"""Whom the clip takes, by the token's probability (arXiv 2602.09782's ablation of clip probability)."""

import math
from itertools import pairwise
from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims.a3 import EVERY
from entrostat.reproduce.judge import SHARE, SIGNED, above, below, conclude, differences, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import over_seeds, true
from entrostat.reproduce.tokens import EDGES

METHODS: dict[str, dict[str, Any]] = {
    "static": {"name": "grpo"},
    "dynamic": {"name": "dynamic", "lower_dynamic": False},
}


def runs(mode: Mode) -> dict[str, list[Job]]:
    """.2/.2 and the dynamic upper threshold under the true reward, three seeds, with dumps."""
    plain: dict[str, Any] = {"dump_every": EVERY, "eval_at": (), "eval_problems": 2, "eval_samples": 1}
    return {
        which: [true(mode, seed, make_method(**method), **plain) for seed in mode.repeats(3)]
        for which, method in METHODS.items()
    }


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Both."""
    return [job for found in runs(mode).values() for job in found]


def judge(mode: Mode, records: Records) -> Result:
    """The old probability of tokens that clip-high takes: under that of all it could take, and higher when dynamic."""
    found = runs(mode)
    read = lambda which, key: over_seeds(records, found[which], lambda r: known(r["tokens"][key]))  # noqa: E731
    taken = {which: read(which, "clipped_high_p") for which in METHODS}
    parts = [
        below(
            "static: mean p of clip-high tokens - of all with A > 0",
            differences(taken["static"], read("static", "positive_p")),
            limits=SIGNED,
        ),
        above(
            "mean p of clip-high tokens, dynamic - static",
            differences(taken["dynamic"], taken["static"]),
            limits=SIGNED,
        ),
    ]
    numbers: dict[str, Any] = {}
    for which, some in found.items():
        for i, (start, end) in enumerate(pairwise(EDGES)):
            shares = over_seeds(records, some, lambda record, at=i: known(record["tokens"]["clip_high_by_p"][at]))
            numbers[f"{which}: share that clip-high takes, p in {start:g}..{end:g}"] = spread(
                shares, limits=SHARE
            )._asdict()
    return conclude(parts, numbers)


def known(value: float | None) -> float:
    """nan for the mean of no token at all."""
    return math.nan if value is None else value


CLAIM = Claim(
    name="b7",
    statement="A static clip-high takes unlikely tokens above all; the dynamic one shifts it to likely ones",
    source="arXiv 2602.09782 has such an ablation; what it should show is derived here from the thresholds' form",
    criterion=(
        "true reward, 100 rollouts, 3 seeds, all tokens of every 10th: at .2/.2 the mean old probability of the "
        "tokens that clip-high takes is under that of all tokens with A > 0, and with the dynamic upper threshold it "
        "is over that at .2/.2 (95% intervals of the paired differences)"
    ),
    measure="probability below that of the tokens it could take",
    use=(
        "Use the old probability to see whom a clip takes: a static high of .2 can take no token over .83; do not "
        "choose the dynamic threshold to reach likely tokens: those that it took had .45 on average, not .41"
    ),
    jobs=jobs,
    judge=judge,
)
