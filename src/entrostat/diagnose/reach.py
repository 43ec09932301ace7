"""The three numbers by which entrostat.reach tells whether a clip setting can move entropy, read from a dump."""

from typing import NamedTuple

import numpy as np

from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.sums import distinct
from entrostat.diagnose.tokens import HIGH, LOW
from entrostat.reach import reach


class Numbers(NamedTuple):
    """Of all rollouts; None where the dump can't tell."""

    clipped: float | None
    """Share of trained tokens that the clip takes on the side that takes more; without what a dual clip takes."""
    kl: float | None
    """Of the policy at the start of a rollout's updates from the one before the last of them, nats a token; the mean
    over rollouts. That of all updates is somewhat larger: no dump has a pass after the last."""
    responses: int | None
    """Completions a rollout, the mean."""

    @property
    def sentence(self) -> str:
        """What entrostat.reach says of them."""
        return reach(**self._asdict())


def numbers(found: Attribution) -> Numbers:
    """The numbers of a dump."""
    return Numbers(_clipped(found), _kl(found), round(float(found.sizes.mean())))


def _clipped(found: Attribution) -> float | None:
    if not (found.plan.clamped and found.plan.has("clipped")):
        return None
    low, high = (
        found.signs.tokens[:, LOW].sum(),
        found.signs.tokens[found.signs.keys[:, 0] > 0, HIGH].sum(),
    )
    return float(max(low, high)) / found.tokens


def _kl(found: Attribution) -> float | None:
    if not len(found.passes):
        return None
    _, rollout = distinct(found.passes[:, :2])
    last = np.flatnonzero(
        np.diff(rollout, append=-1)
    )  # passes are ascending: the last update of each rollout
    mean = float((found.kl[last, 0] / found.kl[last, 1]).mean())
    return mean if np.isfinite(mean) else None
