"""The four regions of arXiv 2602.09782: shutting one moves entropy against its sign, as the estimate predicts.

A region's tokens move entropy the way SIGNS says; a run without their gradient goes the other way (the paper's figure
3). Whether the per-token estimate is any good is asked three times: of the regions' effects, of the run's rollouts,
and against the exact inner product in the parameters (inner_product.py).
"""

import numpy as np

from entrostat.engines.meter import REGIONS
from entrostat.entropy import Region
from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.inner_product import Products, by, products
from entrostat.reproduce.judge import (
    SIGNED,
    above,
    below,
    conclude,
    differences,
    spread,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import late_entropy, over_seeds, true

SIGNS = {Region.E1: -1, Region.E2: 1, Region.E3: 1, Region.E4: -1}
"""Which way the gradient of a region's tokens moves entropy."""
STEPS, FAST_STEPS = 40, 12
WINDOW = 5
"""Rollouts over which predicted and measured changes are summed before they are correlated: one alone is noise."""


def runs(mode: Mode, shut: Region | None) -> list[Job]:
    """.2/.2 with the gradient of one region shut off, or of none; five seeds."""
    method = (
        make_method("grpo")
        if shut is None
        else make_method("regions", **{shut.name.lower(): -1.0})
    )
    steps = FAST_STEPS if mode.fast else STEPS
    options = {"steps": steps, "eval_at": (), "eval_problems": 2, "eval_samples": 1}
    return [true(mode, seed, method, **options) for seed in mode.repeats(5)]


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Each region shut, and none."""
    return [job for shut in (None, *REGIONS) for job in runs(mode, shut)]


def judge(mode: Mode, records: Records) -> Result:
    """Directions of the runs, signs of the exact inner products, and the estimate's correlations."""
    plain = over_seeds(records, runs(mode, None), late_entropy)
    effects = {
        shut: differences(over_seeds(records, runs(mode, shut), late_entropy), plain)
        for shut in REGIONS
    }
    parts = [
        _against(f"{shut.name} shut - .2/.2, nats", effects[shut], -SIGNS[shut])
        for shut in REGIONS
    ]
    predicted = [records[job]["regions"] for job in runs(mode, None)]
    by_region = [[-found[shut.name] for shut in REGIONS] for found in predicted]
    measured = np.array([effects[shut] for shut in REGIONS]).T
    ranks = [
        _spearman(np.array(p), m) for p, m in zip(by_region, measured, strict=True)
    ]
    parts.append(
        above(
            "rank correlation of predicted and measured effect, over regions",
            ranks,
            limits=SIGNED,
        )
    )
    batches = [products(seed) for seed in mode.repeats(5)]
    parts += _exact(batches)
    along = [rollout_correlation(records[job]) for job in runs(mode, None)]
    numbers = {
        f"correlation of predicted and measured change, {WINDOW} rollouts": spread(
            along, limits=SIGNED
        )._asdict()
    }
    numbers["correlation of estimate and exact inner product, over tokens"] = spread(
        [float(np.corrcoef(batch.exact, batch.estimate)[0, 1]) for batch in batches],
        limits=SIGNED,
    )._asdict()
    return conclude(parts, numbers)


def rollout_correlation(record: dict) -> float:
    """Of the predicted change, summed over WINDOW rollouts, with the measured one, over the run."""
    entropy = np.array([np.nan if h is None else h for h in record["entropy"]])
    predicted = np.array([np.nan if p is None else p for p in record["predicted"]])
    measured = entropy[WINDOW:] - entropy[:-WINDOW]
    summed = np.array([predicted[i : i + WINDOW].sum() for i in range(len(measured))])
    known = np.isfinite(measured) & np.isfinite(summed)
    return float(np.corrcoef(summed[known], measured[known])[0, 1])


def _exact(batches: list[Products]) -> list[Part]:
    sums = [by(batch.region, batch.exact) for batch in batches]
    parts = [
        _against(
            f"exact inner product of {region.name}'s gradient",
            [float(x[region]) for x in sums],
            SIGNS[region],
        )
        for region in REGIONS
    ]
    pairs = [
        (by(batch.sequence, batch.exact), by(batch.sequence, batch.estimate))
        for batch in batches
    ]
    correlations = [float(np.corrcoef(*pair)[0, 1]) for pair in pairs]
    return [
        *parts,
        above(
            "correlation of the estimate with the exact inner product, over sequences",
            correlations,
            limits=SIGNED,
        ),
    ]


def _against(what: str, values: list[float], sign: int) -> Part:
    return above(what, values) if sign > 0 else below(what, values)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1])


CLAIM = Claim(
    name="b1",
    statement="Tokens of E1 and E4 lower entropy, of E2 and E3 raise it, and the first-order estimate goes with it",
    source="arXiv 2602.09782, figure 3",
    criterion=(
        f"true reward, {STEPS} rollouts, 5 seeds: shutting a region's gradient moves the late entropy against the "
        "region's sign, for each of the four (95% intervals of the paired differences); predicted and measured "
        "effects of the regions rank alike (mean rank correlation over 0); on the base model, the exact inner product "
        "of each region's gradient with the entropy's has the region's sign, and the estimate correlates with it over "
        "sequences"
    ),
    measure="nats that shutting E1 adds",
    use=(
        "Use the four regions to tell which tokens cost entropy, summed over a batch or a run; do not trust the "
        "estimate for single tokens or for the ups and downs of a few rollouts"
    ),
    jobs=jobs,
    judge=judge,
)
