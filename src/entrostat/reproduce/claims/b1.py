"""The four regions of arXiv 2602.09782: shutting one moves entropy against its sign
(figure 3), as the estimate predicts.

A region's tokens move entropy the way SIGNS says; a run without their gradient goes the
other way. Whether the per-token estimate is any good is asked three times: of the
regions' effects, of the rollouts of a run, and against the exact inner product in the
parameters (inner_product.py).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from entrostat.engines.meter import REGIONS
from entrostat.entropy import Region
from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.inner_product import Products, by, products
from entrostat.reproduce.judge import (
    SIGNED,
    above,
    conclude,
    differences,
    spread,
    towards,
)
from entrostat.reproduce.runs import Job, Record, Records
from entrostat.reproduce.setups import (
    HARDLY_SCORED,
    all_jobs,
    arms,
    by_arm,
    late_entropy,
    true,
)

SIGNS = {Region.E1: -1, Region.E2: 1, Region.E3: 1, Region.E4: -1}
"""Which way the gradient of a region's tokens moves entropy."""
STEPS, FAST_STEPS = 40, 12
WINDOW = 5
"""Rollouts over which predicted and measured changes are summed before they are
correlated: one alone is noise."""


def runs(mode: Mode) -> dict[Region | None, list[Job]]:
    """0.2/0.2 with no region shut (None), then with each one's gradient shut off.

    Five seeds, hardly scored.
    """
    methods: dict[Region | None, Method] = {None: make_method("grpo")}
    for region in REGIONS:
        methods[region] = make_method("regions", **{region.name.lower(): -1.0})
    steps = FAST_STEPS if mode.fast else STEPS
    options = {"steps": steps, "eval_at": (), **HARDLY_SCORED}
    return arms(true, mode, mode.repeats(5), methods, **options)


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs with and without each region."""
    return all_jobs(runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """Directions of the runs, signs of the exact inner products, and the estimate's
    correlations.
    """
    by_shut = runs(mode)
    end = by_arm(records, by_shut, late_entropy)
    parts, effects = [], []
    for shut in REGIONS:
        moved = differences(end[shut], end[None])
        what = f"entropy, {shut.name} shut - 0.2/0.2, nats"
        parts.append(towards(-SIGNS[shut], what, moved))
        effects.append(moved)
    plain = [records[job] for job in by_shut[None]]
    ranks = list(map(_rank_correlation, plain, np.transpose(effects)))
    what = "rank correlation of predicted and measured effect, over regions"
    parts.append(above(what, ranks, limits=SIGNED))
    batches = list(map(products, mode.repeats(5)))
    parts += _exact(batches)
    along = list(map(rollout_correlation, plain))
    over_tokens = [_correlation(batch.exact, batch.estimate) for batch in batches]
    over_rollouts = f"correlation of predicted and measured change, {WINDOW} rollouts"
    numbers = {
        over_rollouts: spread(along, limits=SIGNED),
        "correlation of estimate and exact inner product, over tokens": spread(
            over_tokens, limits=SIGNED
        ),
    }
    return conclude(parts, numbers)


def rollout_correlation(record: Record) -> float:
    """Of the predicted change with the measured one, over the rollouts of a run.

    Both are sums over WINDOW rollouts.
    """
    # a rollout in which nothing was trained on has no number: None becomes nan
    entropy = np.array(record["entropy"], dtype=np.float64)
    predicted = np.array(record["predicted"], dtype=np.float64)
    measured = entropy[WINDOW:] - entropy[:-WINDOW]
    summed = sliding_window_view(predicted, WINDOW)[:-1].sum(axis=-1)
    known = np.isfinite(measured) & np.isfinite(summed)
    return _correlation(summed[known], measured[known])


def _rank_correlation(plain: Record, measured: np.ndarray) -> float:
    """Of the predicted with the measured effects of shutting each region, in one seed.

    The predicted effect is what the region's tokens did in the run with none shut, the
    other way round.
    """
    predicted = np.array([-plain["regions"][shut.name] for shut in REGIONS])
    return _correlation(_ranks(predicted), _ranks(measured))


def _exact(batches: list[Products]) -> list[Part]:
    """Signs of the regions' exact inner products, and the estimate's correlation with
    them.
    """
    by_region = [by(batch.region, batch.exact) for batch in batches]
    parts = []
    for region in REGIONS:
        what = f"exact inner product of {region.name}'s gradient"
        sums = [float(of_batch[region]) for of_batch in by_region]
        parts.append(towards(SIGNS[region], what, sums))
    correlations = []
    for batch in batches:
        exact = by(batch.sequence, batch.exact)
        estimate = by(batch.sequence, batch.estimate)
        correlations.append(_correlation(exact, estimate))
    what = "correlation of the estimate with the exact inner product, over sequences"
    parts.append(above(what, correlations, limits=SIGNED))
    return parts


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places in rising order, from 0; no two values are equal here."""
    return values.argsort().argsort()


CLAIM = Claim(
    name="b1",
    statement=(
        "Tokens of E1 and E4 lower entropy, those of E2 and E3 raise it, and the "
        "first-order estimate agrees with that"
    ),
    source="arXiv 2602.09782, figure 3",
    criterion=(
        f"True reward, {STEPS} rollouts, 5 seeds. Shutting a region's gradient moves the "
        "late entropy against the region's sign, for each of the four (95% intervals of "
        "the paired differences). Predicted and measured effects of the regions rank alike "
        "(mean rank correlation over 0). On the base model, the exact inner product of "
        "each region's gradient with the entropy's has the region's sign, and the estimate "
        "correlates with it over sequences"
    ),
    measure="nats that shutting E1 adds",
    use=(
        "Use the four regions to tell which tokens cost entropy, summed over a batch or a "
        "run; do not trust the estimate for single tokens or for the ups and downs of a "
        "few rollouts"
    ),
    jobs=jobs,
    judge=judge,
)
