"""Dynamic against static thresholds through whole runs, matched in what they clip (arXiv
2602.09782's ablation).

The static thresholds are those that took as many tokens in b2's measurement, so the runs
follow that measurement. They have b8's set-up and seeds.
"""

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
    spreads,
)
from entrostat.reproduce.runs import AnyJob, Job, Records
from entrostat.reproduce.setups import (
    all_jobs,
    arms,
    by_arm,
    learning,
    mean_score,
    over_seeds,
    pass_score,
    share,
)

SEEDS = 8
FAST_VALUE = 0.3
"""1.5 x 0.2, for both sides when fast: the fast measurement is too small for a match."""


def static(mode: Mode, records: Records, side: ladder.Side) -> Method:
    """The static threshold that took as many tokens as the dynamic one."""
    value = FAST_VALUE
    if not mode.fast:
        rows = records[ladder.job(mode)]["rows"]
        value = round(ladder.equal(rows, side), 2)
    return ladder.static(side, value)


def runs(mode: Mode, records: Records) -> dict[str, list[Job]]:
    """Dynamic and static threshold of each side."""
    methods: dict[str, Method] = {}
    for side, name in ladder.NAMES.items():
        methods[f"dynamic {name}"] = ladder.DYNAMIC[side]
        methods[f"static {name}"] = static(mode, records, side)
    return arms(learning, mode, mode.repeats(SEEDS), methods)


def jobs(mode: Mode, records: Records) -> list[AnyJob]:
    """b2's measurement, from which the static thresholds are read, then the runs."""
    first = ladder.job(mode)
    if first not in records:
        return [first]
    return [first, *all_jobs(runs(mode, records))]


def judge(mode: Mode, records: Records) -> Result:
    """Scores of each dynamic threshold over those of the static one."""
    by_method = runs(mode, records)
    scores = {
        "mean@n": by_arm(records, by_method, mean_score),
        "pass@n": by_arm(records, by_method, pass_score),
    }
    parts = []
    numbers = {}
    for side, name in ladder.NAMES.items():
        dynamic, plain = f"dynamic {name}", f"static {name}"
        for score, by_name in scores.items():
            lead = differences(by_name[dynamic], by_name[plain])
            parts.append(above(f"{score}: {dynamic} - static", lead, limits=SIGNED))
            numbers |= spreads(score, {dynamic: by_name[dynamic]}, limits=SHARE)
        for label in (dynamic, plain):
            shares = over_seeds(records, by_method[label], share, f"clip_{side}")
            numbers[f"{label}: clip_{side}"] = spread(shares, limits=SHARE)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b6",
    statement=(
        "Through whole runs a dynamic threshold scores better than a static one that clips "
        "as much"
    ),
    source="arXiv 2602.09782, ablation of static thresholds",
    criterion=(
        f"b8's set-up on chain, {SEEDS} seeds: mean@32 and pass@32 of the dynamic upper "
        "and of the dynamic lower threshold are over those of the static one that took as "
        "many tokens in b2's measurement (95% intervals over seeds). The shares that both "
        "took here stand beside them"
    ),
    measure="mean@32 that the dynamic upper threshold adds",
    use=(
        "Use a static threshold, the simpler one; do not expect a dynamic one to score "
        "better before it has in runs of your own"
    ),
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
