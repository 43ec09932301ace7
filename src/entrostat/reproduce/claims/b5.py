"""ID's first-phase share: 0.5 is the best of 0.3, 0.4, 0.5 and 0.6 (arXiv 2602.09782's
ablation).

ID runs with each share in b8's set-up.
"""

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b8
from entrostat.reproduce.judge import (
    SHARE,
    SIGNED,
    above,
    conclude,
    differences,
    spreads,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    all_jobs,
    arms,
    by_arm,
    late_entropy,
    learning,
    mean_score,
    pass_score,
)

SHARES, BEST = (0.3, 0.4, 0.5, 0.6), 0.5
SEEDS = 8
METHODS = {share: make_method("id", first_phase=share) for share in SHARES}


def runs(mode: Mode) -> dict[float, list[Job]]:
    """ID with each first phase."""
    return arms(learning, mode, mode.repeats(SEEDS), METHODS)


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs of all shares."""
    return all_jobs(runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """mean@n of 0.5 over that of each other share."""
    by_share = runs(mode)
    mean = by_arm(records, by_share, mean_score)
    parts = []
    for share in SHARES:
        if share != BEST:
            lead = differences(mean[BEST], mean[share])
            parts.append(above(f"mean@n: {BEST} - {share}", lead, limits=SIGNED))
    passed = by_arm(records, by_share, pass_score)
    entropy = by_arm(records, by_share, late_entropy)
    numbers = spreads("mean@n", mean, limits=SHARE)
    numbers |= spreads("pass@n", passed, limits=SHARE)
    numbers |= spreads("entropy at the end", entropy)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b5",
    statement="Of the first-phase shares 0.3, 0.4, 0.5 and 0.6 of ID, 0.5 is the best",
    source="arXiv 2602.09782, ablation of the phase share",
    criterion=(
        f"b8's set-up on chain, {SEEDS} seeds: mean@32 at 0.5 is over that at 0.3, at 0.4 "
        "and at 0.6 (95% intervals of the paired differences)"
    ),
    measure="mean@32 of 0.5 over 0.3",
    use=(
        "Use ID's default share of 0.5; do not spend runs on tuning it where ID leaves no "
        "trace on entropy"
    ),
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
