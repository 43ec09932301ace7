"""Dynamic thresholds: the upper raises entropy, the lower lowers it, beyond what their looseness does (2602.09782)."""

from typing import Any

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.effects import EffectJob, change, effect, level
from entrostat.reproduce.judge import SHARE, above, below, conclude, differences, spread
from entrostat.reproduce.ladder import DYNAMIC, NAMES, PLAIN, arm, equal, job, matched
from entrostat.reproduce.runs import Records

SCALE = (
    "windows of .2 take next to nothing of fresh rollouts at steps so small that the first order rules, so rollouts "
    "are four behind, which the paper's are not"
)
"""What of the paper's set-up the lab lacks for dynamic thresholds, alone and in ID, DID and OD."""


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """Both ladders and both dynamic thresholds."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """Each side against .2/.2 and against the static threshold of its clip share."""
    rows = records[job(mode)]["rows"]
    parts: list[Part] = []
    numbers: dict[str, Any] = {
        "change of ln H a rollout at .2/.2": spread(change(rows, 0))._asdict()
    }
    for side, name in NAMES.items():
        check = above if side == "high" else below
        moved = effect(rows, arm(DYNAMIC[side]))
        parts.append(check(f"dynamic {name} - .2/.2, ln H a rollout", moved))
        parts.append(
            check(
                f"dynamic {name} - static of its clip share, ln H a rollout",
                differences(moved, matched(rows, side)),
            )
        )
        numbers[f"{side} of as many tokens as dynamic {name}"] = equal(rows, side)
        for label, method in (("dynamic", DYNAMIC[side]), (".2/.2", PLAIN)):
            shares = level(rows, arm(method), f"clip_{side}")
            numbers[f"clip_{side} share, {label} {name}"] = spread(
                shares, limits=SHARE
            )._asdict()
            numbers[f"KL a rollout, {label} {name}"] = spread(
                level(rows, arm(method), "kl")
            )._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b2",
    statement="The dynamic upper threshold raises entropy, the dynamic lower one lowers it",
    source="arXiv 2602.09782, dynamic thresholds",
    criterion=(
        "paired branches under the true reward on countdown at 1,024 responses, 16 updates, 2.5e-5, rollouts four "
        "behind, 8 seeds of 8 rollouts; effect on ln H in a rollout, 95% intervals over seeds: dynamic upper over "
        ".2/.2 and over the static high that clips the same share of tokens, dynamic lower under .2/.2 and under the "
        "static low that does (the match is linear between static thresholds, seed by seed)"
    ),
    measure="ln H a rollout that the dynamic upper threshold adds",
    use=(
        "Use a dynamic threshold for its direction where the clip takes 1% of the tokens or more; do not expect more "
        "than a static one a third wider gives, and the thermostat moves entropy further"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
