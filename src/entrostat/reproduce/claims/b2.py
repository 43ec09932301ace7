"""Dynamic thresholds: the upper one raises entropy, the lower one lowers it (arXiv
2602.09782).

Each is compared with 0.2/0.2, and with the static threshold that takes as many tokens,
so that its looseness is not taken for its shape (ladder.py).
"""

from typing import Any

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.effects import EffectJob, change, effect, level
from entrostat.reproduce.judge import SHARE, conclude, differences, spread, towards
from entrostat.reproduce.ladder import DYNAMIC, NAMES, PLAIN, arm, equal, job, matched
from entrostat.reproduce.runs import Records

SIGNS = {"high": 1, "low": -1}
"""Which way the dynamic threshold of a side is said to move entropy."""
SCALE = (
    "at steps so small that the first order rules, windows of 0.2 take next to no tokens "
    "of fresh rollouts, so rollouts are four behind, which the paper's are not"
)
"""What the lab lacks of the paper's set-up for dynamic thresholds, alone and in ID, DID
and OD."""


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """Both ladders and both dynamic thresholds."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """Each side against 0.2/0.2 and against the static threshold of its clip share."""
    rows = records[job(mode)]["rows"]
    parts = []
    drift = change(rows, arm(PLAIN))
    numbers: dict[str, Any] = {
        "change of ln H per rollout at 0.2/0.2": spread(drift),
    }
    for side, name in NAMES.items():
        sign = SIGNS[side]
        moved = effect(rows, arm(DYNAMIC[side]))
        beyond = differences(moved, matched(rows, side))
        what = f"dynamic {name} - 0.2/0.2, ln H per rollout"
        parts.append(towards(sign, what, moved))
        what = f"dynamic {name} - static of its clip share, ln H per rollout"
        parts.append(towards(sign, what, beyond))
        numbers[f"static {side} that takes as many as dynamic {name}"] = equal(
            rows, side
        )
        for label, method in (("dynamic", DYNAMIC[side]), ("0.2/0.2", PLAIN)):
            shares = level(rows, arm(method), f"clip_{side}")
            kl = level(rows, arm(method), "kl")
            numbers[f"clip_{side} share, {label} {name}"] = spread(shares, limits=SHARE)
            numbers[f"KL per rollout, {label} {name}"] = spread(kl)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b2",
    statement=(
        "The dynamic upper threshold raises entropy, the dynamic lower threshold lowers it"
    ),
    source="arXiv 2602.09782, dynamic thresholds",
    criterion=(
        "Paired branches under the true reward on countdown at 1,024 responses, 16 "
        "updates, 2.5e-5, rollouts four behind, 8 seeds of 8 rollouts; effect on ln H per "
        "rollout with 95% intervals over seeds. The dynamic upper threshold is over "
        "0.2/0.2 and over the static high that clips the same share of tokens; the dynamic "
        "lower threshold is under 0.2/0.2 and under the static low that clips the same "
        "share (the match is linear between static thresholds, seed by seed)"
    ),
    measure="ln H per rollout that the dynamic upper threshold adds",
    use=(
        "Use a dynamic threshold for its direction where the clip takes 1% of the tokens "
        "or more; do not expect more than a static one a third wider gives, and the "
        "thermostat moves entropy further"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
