"""Dynamic against static thresholds through whole runs, matched in what they clip (2602.09782's ablation)."""

from entrostat.lab.methods import Method
from entrostat.reproduce import ladder
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b8
from entrostat.reproduce.judge import (
    SHARE,
    SIGNED,
    above,
    conclude,
    differences,
    spread,
)
from entrostat.reproduce.runs import AnyJob, Job, Records
from entrostat.reproduce.setups import (
    learning,
    mean_score,
    over_seeds,
    pass_score,
    share,
)

SEEDS = 8


def static(mode: Mode, records: Records, side: ladder.Side) -> Method:
    """The static threshold that took as many tokens as the dynamic one in b2's measurement; 1.5 x .2 when fast."""
    value = (
        0.3
        if mode.fast
        else round(ladder.equal(records[ladder.job(mode)]["rows"], side), 2)
    )
    return ladder.static(side, value)


def runs(mode: Mode, method: Method) -> list[Job]:
    """b8's set-up, its seeds."""
    return [learning(mode, seed, method) for seed in mode.repeats(SEEDS)]


def jobs(mode: Mode, records: Records) -> list[AnyJob]:
    """b2's measurement, from which the static thresholds are read, then the runs."""
    first = ladder.job(mode)
    if first not in records:
        return [first]
    methods = [
        method
        for side in ladder.NAMES
        for method in (ladder.DYNAMIC[side], static(mode, records, side))
    ]
    return [first, *(job for method in methods for job in runs(mode, method))]


def judge(mode: Mode, records: Records) -> Result:
    """Scores of each dynamic threshold over those of the static one."""
    parts, numbers = [], {}
    for side, name in ladder.NAMES.items():
        dynamic, plain = (
            runs(mode, ladder.DYNAMIC[side]),
            runs(mode, static(mode, records, side)),
        )
        for score, statistic in (("mean@n", mean_score()), ("pass@n", pass_score())):
            found, other = (
                over_seeds(records, dynamic, statistic),
                over_seeds(records, plain, statistic),
            )
            parts.append(
                above(
                    f"{score}, dynamic {name} - static",
                    differences(found, other),
                    limits=SIGNED,
                )
            )
            numbers[f"dynamic {name}: {score}"] = spread(found, limits=SHARE)._asdict()
        for label, some in ((f"dynamic {name}", dynamic), (f"static {name}", plain)):
            shares = over_seeds(records, some, share(f"clip_{side}"))
            numbers[f"{label}: clip_{side}"] = spread(shares, limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b6",
    statement="Through whole runs a dynamic threshold scores better than a static one that clips as much",
    source="arXiv 2602.09782, ablation of static thresholds",
    criterion=(
        f"b8's set-up on chain, {SEEDS} seeds: mean@32 and pass@32 of the dynamic upper and of the dynamic lower "
        "threshold over those of the static one that took as many tokens in b2's measurement (95% intervals over "
        "seeds); the shares that both took here are beside"
    ),
    measure="mean@32 that the dynamic upper threshold adds",
    use=(
        "Use a static threshold, the simpler one; do not expect a dynamic one to score better before it has in runs "
        "of your own"
    ),
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
