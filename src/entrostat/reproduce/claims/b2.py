"""Dynamic thresholds: the upper raises entropy, the lower lowers it, beyond what their looseness does (2602.09782)."""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import SHARE, above, below, conclude, differences, spread
from entrostat.reproduce.ladder import SEEDS, all_jobs, dynamic, matched, static
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import late_entropy, over_seeds, share

SCALE = (
    "100 rollouts where the paper has 400, with dynamic thresholds that change what happens to under .5% of the tokens"
)
"""What of the paper's set-up the lab lacks for dynamic thresholds, alone and in ID, DID and OD."""


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Both ladders and both dynamic thresholds."""
    return all_jobs(mode)


def judge(mode: Mode, records: Records) -> Result:
    """Each side against .2/.2 and against the static threshold of its clip share."""
    plain = over_seeds(records, static(mode), late_entropy)
    upper = over_seeds(records, dynamic(mode, "high"), late_entropy)
    lower = over_seeds(records, dynamic(mode, "low"), late_entropy)
    parts = [
        above("dynamic upper - .2/.2, nats", differences(upper, plain)),
        above(
            "dynamic upper - static of its clip share, nats",
            differences(upper, matched(mode, records, "high", late_entropy)),
        ),
        below("dynamic lower - .2/.2, nats", differences(lower, plain)),
        below(
            "dynamic lower - static of its clip share, nats",
            differences(lower, matched(mode, records, "low", late_entropy)),
        ),
    ]
    numbers = {
        "clip_high share: dynamic upper": spread(
            over_seeds(records, dynamic(mode, "high"), share("clip_high")), limits=SHARE
        )._asdict(),
        "clip_high share: .2/.2": spread(over_seeds(records, static(mode), share("clip_high")), limits=SHARE)._asdict(),
        "clip_low share: dynamic lower": spread(
            over_seeds(records, dynamic(mode, "low"), share("clip_low")), limits=SHARE
        )._asdict(),
        "clip_low share: .2/.2": spread(over_seeds(records, static(mode), share("clip_low")), limits=SHARE)._asdict(),
    }
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b2",
    statement="The dynamic upper threshold raises entropy, the dynamic lower one lowers it",
    source="arXiv 2602.09782, dynamic thresholds",
    criterion=(
        f"true reward, 100 rollouts, {SEEDS} seeds, entropy of the last 10: dynamic upper over .2/.2 and over the "
        "static high that clips the same share of tokens, dynamic lower under .2/.2 and under the static low that "
        "does (95% intervals of the paired differences; the match is linear interpolation along five static "
        "thresholds)"
    ),
    measure="nats that the dynamic upper threshold adds",
    use=(
        "Use the thermostat where entropy has to move; do not count on dynamic thresholds for it where about 1% of the"
        " tokens are clipped, as here"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
