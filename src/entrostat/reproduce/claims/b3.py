"""ID, DID and OD give the entropy curves that their names say (arXiv 2602.09782)."""

import numpy as np

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import b2
from entrostat.reproduce.judge import AMOUNT, SHARE, above, below, conclude, differences, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import late_entropy, over_seeds, true
from entrostat.strategies import RolloutSummary
from entrostat.strategies.oscillatory import Od

SHAPES = {"id": ((0.0, 0.5, 1), (0.5, 1.0, -1)), "did": ((0.0, 0.25, -1), (0.25, 0.5, 1), (0.5, 1.0, -1))}
"""Per strategy: from and to which progress entropy is said to go which way."""


def runs(mode: Mode, name: str) -> list[Job]:
    """One of grpo, id, did, od at its defaults; five seeds."""
    return [true(mode, seed, make_method(name)) for seed in mode.repeats(5)]


def jobs(mode: Mode, records: Records) -> list[Job]:
    """All four."""
    return [job for name in ("grpo", "id", "did", "od") for job in runs(mode, name)]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of entropy in each stretch, and OD's turns; beside them what each does against .2/.2."""
    parts: list[Part] = []
    for name, stretches in SHAPES.items():
        for start, end, sign in stretches:
            values = [slope(records[job]["entropy"], start, end) for job in runs(mode, name)]
            check = above if sign > 0 else below
            parts.append(check(f"{name}: slope of entropy over progress {start:g} to {end:g}, nats a run", values))
    turns = [float(switches(records[job]["entropy"])) for job in runs(mode, "od")]
    parts.append(above("od: turns between raising and lowering", turns, 1.0, limits=AMOUNT))
    plain = runs(mode, "grpo")
    numbers = {}
    for start, end in sorted({stretch[:2] for stretches in SHAPES.values() for stretch in stretches}):
        values = [slope(records[job]["entropy"], start, end) for job in plain]
        numbers[f".2/.2: slope of entropy over progress {start:g} to {end:g}, nats a run"] = spread(values)._asdict()
    reached = [low_point(records[job]["entropy"]) for job in runs(mode, "od")]
    numbers["od: lowest entropy / start (od raises from its floor on)"] = spread(reached, limits=SHARE)._asdict()
    numbers["od: its floor"] = Od().floor
    for name in ("id", "did", "od"):
        for when, start, end in (("middle", 0.4, 0.6), ("end", 0.9, 1.0)):
            found = [_mean(records[job]["entropy"], start, end) for job in runs(mode, name)]
            others = [_mean(records[job]["entropy"], start, end) for job in plain]
            numbers[f"{name} - .2/.2, {when}, nats"] = spread(differences(found, others))._asdict()
        numbers[f"{name}: entropy at the end"] = spread(over_seeds(records, runs(mode, name), late_entropy))._asdict()
    return conclude(parts, numbers)


def slope(entropy: list[float | None], start: float, end: float) -> float:
    """Least-squares slope over a stretch of the run, nats per run."""
    y = _stretch(entropy, start, end)
    x = np.arange(len(y)) / len(entropy)
    known = np.isfinite(y)
    return float(np.polyfit(x[known], y[known], 1)[0])


def low_point(entropy: list[float | None]) -> float:
    """Lowest entropy of a run over its first."""
    known = [h for h in entropy if h is not None]
    return min(known) / known[0]


def switches(entropy: list[float | None]) -> int:
    """How often OD would have changed its state on this run."""
    strategy = Od()
    state, count = strategy.init(), 0
    for rollout, h in enumerate(entropy):
        if h is None:
            continue
        after = strategy.observe(state, RolloutSummary(progress=rollout / len(entropy), entropy=h))
        count += after.raising != state.raising
        state = after
    return count


def _stretch(entropy: list[float | None], start: float, end: float) -> np.ndarray:
    n = len(entropy)
    part = entropy[round(start * n) : max(round(end * n), round(start * n) + 2)]
    return np.array([np.nan if h is None else h for h in part])


def _mean(entropy: list[float | None], start: float, end: float) -> float:
    return float(np.nanmean(_stretch(entropy, start, end)))


CLAIM = Claim(
    name="b3",
    statement="ID raises entropy and then lowers it; DID lowers, raises, lowers; OD turns again and again",
    source="arXiv 2602.09782, strategies ID, DID and OD",
    criterion=(
        "true reward, 100 rollouts, 5 seeds: the least-squares slope of entropy over 0 in ID's first half and under 0 "
        "in its second; under 0 in DID's first quarter, over 0 in its second, under 0 in its second half (95% "
        "intervals); more than one turn of OD. Differences to .2/.2 are reported beside"
    ),
    measure="slope of ID's first half, nats a run",
    use=(
        "Use the thermostat with a schedule for an entropy curve of your own; do not expect ID, DID or OD to give "
        "theirs at this scale: they stayed within .02 nats of plain GRPO"
    ),
    scale=b2.SCALE,
    jobs=jobs,
    judge=judge,
)
