"""Which way round: a small low and a large high raise entropy, not a large low and a small high.

Public notes often state it backwards, as if a threshold let entropy through. It does not: a threshold takes gradients
away. Clip-low takes those that push a token further down that has already fallen, clip-high those that lift one that
has already risen. Most of both are unlikely tokens, so a tight low keeps entropy and a tight high costs it.
"""

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import a5
from entrostat.reproduce.judge import above, below, conclude
from entrostat.reproduce.ladder import Side, ladder
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import SMALL_BATCH, gain, over_seeds

SIDES: tuple[Side, Side] = ("low", "high")


def _runs(mode: Mode) -> dict[tuple[str, Side], dict[float, list[Job]]]:
    found: dict[tuple[str, Side], dict[float, list[Job]]] = {}
    for side in SIDES:
        found["random", side] = a5.ladder(mode, side, mode.repeats(3))
        found["true", side] = ladder(mode, side)
    return found


def jobs(mode: Mode, records: Records) -> list[Job]:
    """a5's ladders under random rewards, b2's under the true one."""
    return [job for rungs in _runs(mode).values() for runs in rungs.values() for job in runs]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the entropy change in ln(threshold), four times."""
    parts: list[Part] = []
    for (reward, side), rungs in _runs(mode).items():
        values = a5.slopes(list(rungs), [over_seeds(records, runs, gain) for runs in rungs.values()])
        check = below if side == "low" else above
        parts.append(check(f"{reward} reward: slope of end - start in ln {side}, nats", values))
    return conclude(parts)


CLAIM = Claim(
    name="c1",
    statement="A smaller low and a larger high raise entropy; the reverse, which is often written, is wrong",
    source="arXiv 2509.26114; the misreading is from public notes on it and on clip-higher",
    criterion=(
        "a5's ladders (random reward, the other side off) and b2's (true reward, the other side at .2), 3 seeds: the "
        "slope of the entropy change in ln(threshold) under 0 for low and over 0 for high, all four (95% intervals); "
        "fails if one is significantly the other way round"
    ),
    measure="nats per e-fold of low, random reward",
    use=(
        "Use a smaller low or a larger high to raise entropy, the reverse to lower it; do not follow notes that say "
        "the opposite, and do not expect much of low under a random reward"
    ),
    scale=SMALL_BATCH,
    jobs=jobs,
    judge=judge,
)
