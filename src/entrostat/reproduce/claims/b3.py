"""ID, DID and OD push entropy the way that their names say, phase by phase (arXiv
2602.09782).

Each rollout of a run at 0.2/0.2 is trained on by each strategy too, at that rollout's
progress, so that a whole schedule is measured by paired branches.
"""

import math
from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.effects import (
    EffectJob,
    Rows,
    change,
    clip_shares,
    effect,
    stretch,
    wide,
)
from entrostat.reproduce.judge import conclude, spread, towards
from entrostat.reproduce.ladder import PLAIN
from entrostat.reproduce.runs import Records
from entrostat.strategies.oscillatory import Od

ARMS = {"0.2/0.2": 0, "id": 1, "did": 2, "od": 3}
METHODS = (PLAIN, make_method("id"), make_method("did"), make_method("od"))
PHASES = {
    "id": ((0.0, 0.5, 1), (0.5, 1.0, -1)),
    "did": ((0.25, 0.5, 1), (0.5, 1.0, -1)),
    "od": ((0.0, 1.0, -1),),
}
"""From and to which progress a strategy's thresholds are said to push entropy which way.
In DID's first quarter they are nearly 0.2/0.2, and OD lowers until entropy has come to
its floor."""


def job(mode: Mode) -> EffectJob:
    """A whole schedule along a run at 0.2/0.2."""
    point = wide(mode, length=4 if mode.fast else 32)
    return EffectJob(point, METHODS, mode.count(6, fast=3))


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The effect of each phase against 0.2/0.2, and beside it the run's own change."""
    measurement = job(mode)
    rows, length = records[measurement]["rows"], measurement.point.length
    parts = []
    for name, phases in PHASES.items():
        for start, end, sign in phases:
            moved = effect(stretch(rows, length, start, end), ARMS[name])
            what = f"{name}, progress {start:g} to {end:g}: effect on ln H per rollout"
            parts.append(towards(sign, what, moved))
    drift = change(rows, ARMS["0.2/0.2"])
    numbers: dict[str, Any] = {
        "change of ln H per rollout at 0.2/0.2": spread(drift),
        "rollouts that od takes to its floor, at 0.2/0.2's change and its own": (
            _rollouts_to_the_floor(rows)
        ),
    }
    for name, arm in ARMS.items():
        numbers |= clip_shares(rows, arm, name)
    return conclude(parts, numbers)


def _rollouts_to_the_floor(rows: Rows) -> float | str:
    """From OD's start to where it first raises entropy, at the mean speed of the rows."""
    by_itself, by_od = change(rows, ARMS["0.2/0.2"]), effect(rows, ARMS["od"])
    speed = sum(by_itself) / len(by_itself) + sum(by_od) / len(by_od)
    if speed >= 0:
        return "never: entropy rises"
    return float(round(math.log(Od().floor) / speed))


CLAIM = Claim(
    name="b3",
    statement=(
        "ID raises entropy and then lowers it; DID raises it and then lowers it; OD lowers "
        "it down to its floor"
    ),
    source="arXiv 2602.09782, strategies ID, DID and OD",
    criterion=(
        "b2's regime along 32 rollouts at 0.2/0.2, 6 seeds, with each strategy's schedule "
        "stretched over them; the effect of its thresholds on ln H per rollout against "
        "0.2/0.2, as the mean of a phase with 95% intervals over seeds. ID is over 0 in "
        "its first half and under 0 in its second. DID is over 0 in its second quarter and "
        "under 0 in its second half. OD is under 0 (it lowers entropy until a fifth of it "
        "is left, which these rollouts do not reach)"
    ),
    measure="ln H per rollout that ID's first half adds",
    use=(
        "Use the thermostat with a schedule for an entropy curve of your own; do not "
        "expect a curve of ID, DID or OD: they push the way that they say, by a tenth to a "
        "half of what the run does by itself"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
