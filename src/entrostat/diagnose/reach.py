"""The three numbers by which entrostat.reach tells whether a clip setting can move
entropy, read from a dump."""

from typing import NamedTuple

import numpy as np

from entrostat.diagnose.attribution import Attribution
from entrostat.diagnose.sums import distinct
from entrostat.diagnose.tokens import HIGH, LOW
from entrostat.reach import reach


class Numbers(NamedTuple):
    """Of all rollouts; None where the dump cannot tell."""

    clipped: float | None
    """Share of trained tokens that the clip takes on the side that takes more, without
    what a dual clip takes."""
    kl: float | None
    """KL from the policy at the start of a rollout's updates to the one before the last
    of them, nats per token; the mean over rollouts. That of all updates is somewhat
    larger: no dump has a pass after the last."""
    responses: int | None
    """Completions per rollout, the mean."""

    @property
    def sentence(self) -> str:
        """What entrostat.reach says of them."""
        return reach(**self._asdict())


def numbers(attribution: Attribution) -> Numbers:
    """The numbers of a dump."""
    return Numbers(
        clipped=_clipped(attribution),
        kl=_kl(attribution),
        responses=round(float(attribution.sizes.mean())),
    )


def _clipped(attribution: Attribution) -> float | None:
    plan = attribution.plan
    if not plan.clamped or not plan.has("clipped"):
        return None
    tokens = attribution.signs.tokens
    positive = attribution.signs.keys[:, 0] > 0
    low = tokens[:, LOW].sum()
    # a high event where A is not positive is the dual clip's, whatever the window
    high = tokens[positive, HIGH].sum()
    return float(max(low, high)) / attribution.tokens


def _kl(attribution: Attribution) -> float | None:
    if not len(attribution.passes):
        return None
    path_and_step = attribution.passes[:, :2]
    _, rollout = distinct(path_and_step)
    # passes are in ascending order, so a rollout's last update is the last of its rows
    is_last = np.diff(rollout, append=-1) != 0
    sums, tokens = attribution.kl[is_last].T
    mean = float((sums / tokens).mean())
    return mean if np.isfinite(mean) else None
