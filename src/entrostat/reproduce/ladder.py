"""Static thresholds under the true reward, one side at a time, and what a static threshold of the same clip share does.

A dynamic threshold is not only of another shape than .2, it is also looser or tighter on the whole. So it is compared
with the static threshold that takes as many tokens, read off the ladder: the statistic at the same clip share, linear
between the two nearest values, seed by seed. A share that no rung of the ladder reaches has no match: nan.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Mode
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import Statistic, over_seeds, share, true

Side = Literal["low", "high"]
VALUES: dict[Side, tuple[float, ...]] = {"low": (0.1, 0.15, 0.2, 0.25, 0.3), "high": (0.1, 0.2, 0.3, 0.4, 0.5)}
FAST_VALUES: dict[Side, tuple[float, ...]] = {"low": (0.1, 0.2, 0.3), "high": (0.1, 0.2, 0.5)}
SEEDS = 3


def ladder(mode: Mode, side: Side) -> dict[float, list[Job]]:
    """Runs at each value of one threshold, the other at .2."""
    values = (FAST_VALUES if mode.fast else VALUES)[side]
    return {v: [true(mode, seed, make_method("grpo", **{side: v})) for seed in mode.repeats(SEEDS)] for v in values}


def dynamic(mode: Mode, side: Side) -> list[Job]:
    """2602.09782's dynamic threshold on one side through the whole run, .2 on the other."""
    method = make_method("dynamic", upper_dynamic=side == "high", lower_dynamic=side == "low")
    return [true(mode, seed, method) for seed in mode.repeats(SEEDS)]


def static(mode: Mode) -> list[Job]:
    """.2/.2, the seeds of the ladder."""
    return ladder(mode, "low")[0.2]


def all_jobs(mode: Mode) -> list[Job]:
    """Both ladders and both dynamic thresholds."""
    sides: tuple[Side, Side] = ("low", "high")
    rungs = [job for side in sides for runs in ladder(mode, side).values() for job in runs]
    return rungs + [job for side in sides for job in dynamic(mode, side)]


def matched(mode: Mode, records: Records, side: Side, statistic: Statistic) -> list[float]:
    """The ladder's statistic at the dynamic runs' clip share on that side, a value a seed."""
    taken = share(f"clip_{side}")
    rungs = list(ladder(mode, side).values())
    shares = np.array([over_seeds(records, runs, taken) for runs in rungs])
    values = np.array([over_seeds(records, runs, statistic) for runs in rungs])
    return [
        _at(shares[:, i], values[:, i], found)
        for i, found in enumerate(over_seeds(records, dynamic(mode, side), taken))
    ]


def _at(shares: Sequence[float] | np.ndarray, values: np.ndarray, found: float) -> float:
    order = np.argsort(shares)
    return float(np.interp(found, np.asarray(shares)[order], values[order], left=math.nan, right=math.nan))
