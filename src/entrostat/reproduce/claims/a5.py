"""Random rewards: entropy is monotone in each threshold (arXiv 2509.26114, runs with random rewards)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import above, below, conclude, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import INF, SMALL_BATCH, blind, gain, over_seeds

VALUES = (0.05, 0.1, 0.2, 0.4)


def ladder(mode: Mode, side: str, seeds: Sequence[int]) -> dict[float, list[Job]]:
    """Runs at each value of one threshold, the other side off."""
    methods = {
        value: make_method("grpo", low=value, high=INF) if side == "low" else make_method("grpo", low=1.0, high=value)
        for value in VALUES
    }
    return {value: [blind(mode, seed, method) for seed in seeds] for value, method in methods.items()}


def slopes(values: Sequence[float], of_seeds: Sequence[Sequence[float]]) -> list[float]:
    """For each seed the least-squares slope over ln(value); `of_seeds` has a row a value."""
    x = np.log(values) - np.mean(np.log(values))
    return [float((x * column).sum() / (x * x).sum()) for column in np.asarray(of_seeds, dtype=np.float64).T]


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Four values of each threshold, three seeds."""
    return [job for side in ("low", "high") for runs in ladder(mode, side, mode.repeats(3)).values() for job in runs]


def judge(mode: Mode, records: Records) -> Result:
    """The slope of the change in the threshold's logarithm, and no step of the ladder the wrong way."""
    parts, numbers = [], {}
    for side, sign in (("low", -1), ("high", 1)):
        rows = {v: over_seeds(records, runs, gain) for v, runs in ladder(mode, side, mode.repeats(3)).items()}
        numbers |= {f"{side} {value:g}, end - start": spread(found)._asdict() for value, found in rows.items()}
        check = below if sign < 0 else above
        parts.append(check(f"slope of end - start in ln {side}, nats", slopes(list(rows), list(rows.values()))))
        means = [sign * float(np.mean(found)) for found in rows.values()]
        numbers[f"{side}: steps the right way, of {len(VALUES) - 1}"] = sum(b > a for a, b in pairwise(means))
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a5",
    statement="Random reward: entropy falls as low grows, and rises as high grows",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "60 rollouts under bernoulli:0.5, 3 seeds, one threshold at .05, .1, .2, .4 and the other side off: the slope "
        "of the entropy change in ln(threshold), by seed, is under 0 for low and over 0 for high (95% intervals); the "
        "number of steps of the ladder that go the right way is reported"
    ),
    measure="nats per e-fold of low",
    use=(
        "Use high as the knob that lowers entropy; do not tune low between .05 and .2 for entropy under a random "
        "reward, where it made no difference"
    ),
    scale=SMALL_BATCH,
    jobs=jobs,
    judge=judge,
)
