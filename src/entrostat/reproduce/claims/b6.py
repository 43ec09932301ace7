"""Dynamic against static thresholds through whole runs, matched in what they clip (2602.09782's ablation)."""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.judge import SHARE, SIGNED, above, conclude, differences, spread
from entrostat.reproduce.ladder import SEEDS, Side, all_jobs, dynamic, matched
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import mean_score, over_seeds, pass_score

SIDES: dict[Side, str] = {"high": "upper", "low": "lower"}


def jobs(mode: Mode, records: Records) -> list[Job]:
    """b2's."""
    return all_jobs(mode)


def judge(mode: Mode, records: Records) -> Result:
    """Scores of each dynamic threshold over those of the static one of its clip share."""
    parts, numbers = [], {}
    for side, name in SIDES.items():
        for score, statistic in (("mean@n", mean_score()), ("pass@n", pass_score())):
            found = over_seeds(records, dynamic(mode, side), statistic)
            parts.append(
                above(
                    f"{score}, dynamic {name} - static",
                    differences(found, matched(mode, records, side, statistic)),
                    limits=SIGNED,
                )
            )
            numbers[f"dynamic {name}: {score}"] = spread(found, limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b6",
    statement="Through whole runs a dynamic threshold scores better than a static one that clips as much",
    source="arXiv 2602.09782, ablation of static thresholds",
    criterion=(
        f"b2's runs, {SEEDS} seeds: mean@32 and pass@32 on 297 held-out problems over those of the static threshold of "
        "the same clip share, for the upper and the lower threshold (95% intervals over seeds)"
    ),
    measure="mean@32 that the dynamic upper threshold adds",
    use=(
        "Use a static threshold, the simpler one, where about 1% of the tokens are clipped; do not expect a dynamic "
        "one to score better there"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
