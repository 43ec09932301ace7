"""ID's first-phase share: .5 is best of .3, .4, .5, .6 (arXiv 2602.09782's ablation)."""

from entrostat.lab.methods import make_method
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
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    late_entropy,
    learning,
    mean_score,
    over_seeds,
    pass_score,
)

SHARES, BEST = (0.3, 0.4, 0.5, 0.6), 0.5
SEEDS = 8


def runs(mode: Mode, share: float) -> list[Job]:
    """ID with this first phase, in b8's set-up."""
    return [
        learning(mode, seed, make_method("id", first_phase=share))
        for seed in mode.repeats(SEEDS)
    ]


def jobs(mode: Mode, records: Records) -> list[Job]:
    """All four shares."""
    return [job for share in SHARES for job in runs(mode, share)]


def judge(mode: Mode, records: Records) -> Result:
    """mean@n of .5 over each other's."""
    score = {
        share: over_seeds(records, runs(mode, share), mean_score()) for share in SHARES
    }
    others = [share for share in SHARES if share != BEST]
    parts = [
        above(
            f"mean@n, {BEST} - {share}",
            differences(score[BEST], score[share]),
            limits=SIGNED,
        )
        for share in others
    ]
    numbers = {}
    for share in SHARES:
        numbers[f"{share}: mean@n"] = spread(score[share], limits=SHARE)._asdict()
        numbers[f"{share}: pass@n"] = spread(
            over_seeds(records, runs(mode, share), pass_score()), limits=SHARE
        )._asdict()
        numbers[f"{share}: entropy at the end"] = spread(
            over_seeds(records, runs(mode, share), late_entropy)
        )._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b5",
    statement="Of the first-phase shares .3, .4, .5 and .6 of ID, .5 is best",
    source="arXiv 2602.09782, ablation of the phase share",
    criterion=(
        f"b8's set-up on chain, {SEEDS} seeds: mean@32 at .5 over that at .3, .4 and .6 (95% intervals of the "
        "paired differences)"
    ),
    measure="mean@32 of .5 over .3",
    use="Use ID's default share of .5; do not spend runs on tuning it where ID leaves no trace on entropy",
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
