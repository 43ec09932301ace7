"""ID, DID and OD push entropy the way that their names say, phase by phase (arXiv 2602.09782)."""

import math
from collections.abc import Sequence
from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.effects import EffectJob, change, effect, level, stretch, wide
from entrostat.reproduce.judge import SHARE, above, below, conclude, spread
from entrostat.reproduce.ladder import PLAIN
from entrostat.reproduce.runs import Records
from entrostat.strategies.oscillatory import Od

NAMES = ("id", "did", "od")
PHASES = {
    "id": ((0.0, 0.5, 1), (0.5, 1.0, -1)),
    "did": ((0.25, 0.5, 1), (0.5, 1.0, -1)),
    "od": ((0.0, 1.0, -1),),
}
"""Per strategy: from and to which progress its thresholds are said to push entropy which way. In DID's first quarter
they are nearly .2/.2, and OD lowers until entropy has come to its floor."""


def job(mode: Mode) -> EffectJob:
    """A whole schedule along a run at .2/.2: each rollout is trained on by each strategy at that rollout's progress."""
    point = wide(mode, length=4 if mode.fast else 32)
    return EffectJob(
        point,
        (PLAIN, *(make_method(name) for name in NAMES)),
        len(mode.repeats(6, fast=3)),
    )


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The effect of each phase against .2/.2; beside it what the run does by itself."""
    made = job(mode)
    rows, length = records[made]["rows"], made.point.length
    parts: list[Part] = []
    numbers: dict[str, Any] = {
        "change of ln H a rollout at .2/.2": spread(change(rows, 0))._asdict()
    }
    for at, name in enumerate(NAMES, 1):
        for start, end, sign in PHASES[name]:
            moved = effect(stretch(rows, length, start, end), at)
            check = above if sign > 0 else below
            parts.append(
                check(
                    f"{name}, progress {start:g} to {end:g}: effect on ln H a rollout",
                    moved,
                )
            )
        for side in ("clip_low", "clip_high"):
            numbers[f"{name}: {side}"] = spread(
                level(rows, at, side), limits=SHARE
            )._asdict()
    for side in ("clip_low", "clip_high"):
        numbers[f".2/.2: {side}"] = spread(level(rows, 0, side), limits=SHARE)._asdict()
    numbers["od: rollouts to its floor, by .2/.2's change and its own"] = _to_the_floor(
        rows
    )
    return conclude(parts, numbers)


def _to_the_floor(rows: Sequence[dict[str, Any]]) -> float | str:
    """How many rollouts OD takes from its start to where it first raises, at the mean speed of these rows."""
    by_itself, by_od = change(rows, 0), effect(rows, NAMES.index("od") + 1)
    speed = sum(by_itself) / len(by_itself) + sum(by_od) / len(by_od)
    return (
        float(round(math.log(Od().floor) / speed))
        if speed < 0
        else "never: entropy rises"
    )


CLAIM = Claim(
    name="b3",
    statement="ID raises entropy and then lowers it; DID raises and then lowers; OD lowers until its floor",
    source="arXiv 2602.09782, strategies ID, DID and OD",
    criterion=(
        "b2's regime along 32 rollouts at .2/.2, 6 seeds, each strategy's schedule stretched over them; effect of its "
        "thresholds on ln H in a rollout against .2/.2, mean of a phase, 95% intervals over seeds: ID over 0 in its "
        "first half and under 0 in its second, DID over 0 in its second quarter and under 0 in its second half, OD "
        "under 0 (it lowers until a fifth of the entropy is left, which the rollouts do not reach)"
    ),
    measure="ln H a rollout that ID's first half adds",
    use=(
        "Use the thermostat with a schedule for an entropy curve of your own; do not expect a curve of ID, DID or OD: "
        "they push the way that they say, by a tenth to a half of what the run does by itself"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
