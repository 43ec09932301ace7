"""A batch of a dump's rows as flat arrays of what diagnosis sums: change of entropy, region, clip event, ratio."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from entrostat.diagnose.plan import Plan
from entrostat.diagnose.sums import Floats, Ints
from entrostat.dump import per_token
from entrostat.entropy import (
    TokenStats,
    entropy_change,
    entropy_change_own_term,
    regions,
)

KEPT, LOW, HIGH = 0, 1, 2
EVENTS = ("kept", "clip-low", "clip-high")


class Tokens(NamedTuple):
    """Trained tokens of a batch of rows, (n,) each. What the dump can't tell is None."""

    row: Ints
    position: Ints
    ids: Ints
    advantages: Floats
    event: Ints
    """KEPT, LOW or HIGH; KEPT where events are not known."""
    logratio: np.ndarray | None
    """ln of the ratio that is clipped, float32: the token's own, or its sequence's."""
    kl: Floats | None
    """exp(x) - 1 - x of the token's own log-ratio x. Its mean is the KL of the policy at the start of the rollout's
    updates from this pass's, nats a token (k3 of Schulman 2020, on samples of the first, as it must be)."""
    start: Floats | None
    """Entropy of the policy at the start of the rollout's updates, NaN where it is not known."""
    change: Floats | None
    """First-order entropy change as if nothing were clipped, nats per unit step."""
    region: Ints | None
    low: np.ndarray | None
    """Clip half-widths in force, float32."""
    high: np.ndarray | None


def tokens_of(batch: pa.RecordBatch, plan: Plan) -> Tokens:
    """The trained tokens of `batch`, rows of a dump that `plan` was made for.

    Ratios are clipped in float32, as trainers do; changes are worked out in float64.
    """
    found = per_token(batch)
    logprobs, advantages = (
        torch.tensor(found[name]) for name in ("logprobs", "advantages")
    )
    own = (
        logprobs - torch.tensor(found["old_logprobs"])
        if plan.has("old_logprobs")
        else None
    )
    clipped = (
        found["clipped"].astype(np.int64)
        if plan.has("clipped")
        else np.zeros(len(logprobs), np.int64)
    )
    clip_ratio = (
        own
        if own is None or not plan.by_sequence
        else _of_sequences(own, found["row"], batch.num_rows)
    )
    if plan.has("entropy"):
        change = _change(found, plan, logprobs, clip_ratio, advantages)
        region = regions(
            logprobs[None], torch.tensor(found["entropy"])[None], advantages[None]
        )[0].numpy()
    else:
        change, region = None, None
    return Tokens(
        row=found["row"],
        position=found["position"],
        ids=found["tokens"].astype(np.int64),
        advantages=found["advantages"].astype(np.float64),
        event=np.where(clipped == -1, LOW, np.where(clipped == 1, HIGH, KEPT)),
        logratio=None if clip_ratio is None else clip_ratio.numpy(),
        kl=None if own is None else _kl(own.numpy().astype(np.float64)),
        start=_start(found, plan),
        change=change,
        region=region,
        low=found.get("low") if plan.has("low") else None,
        high=found.get("high") if plan.has("high") else None,
    )


def _change(
    found: dict[str, np.ndarray],
    plan: Plan,
    logprobs: Tensor,
    logratio: Tensor | None,
    advantages: Tensor,
) -> Floats:
    def doubles(name: str) -> Tensor:
        return torch.tensor(found[name], dtype=torch.float64)[None]

    ratio = torch.zeros_like(logprobs) if logratio is None else logratio
    terms = (ratio.double()[None], advantages.double()[None])
    if plan.exact:
        stats = TokenStats(
            *(
                doubles(name)
                for name in ("logprobs", "entropy", "sum_p2", "sum_p2_logp")
            )
        )
        return entropy_change(stats, *terms)[0].numpy()
    stats = TokenStats(doubles("logprobs"), doubles("entropy"))
    return entropy_change_own_term(stats, *terms)[0].numpy()


def _kl(logratio: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.expm1(logratio) - logratio


def _start(found: dict[str, np.ndarray], plan: Plan) -> Floats | None:
    """old_entropy; or the entropy of passes before the first update; or, where those are not told apart, of all."""
    if plan.has("old_entropy"):
        return found["old_entropy"].astype(np.float64)
    if plan.has("entropy", "update"):
        return np.where(
            found["update"] == 0, found["entropy"].astype(np.float64), np.nan
        )
    return found["entropy"].astype(np.float64) if plan.has("entropy") else None


def _of_sequences(logratio: Tensor, row: Ints, rows: int) -> Tensor:
    """The mean over its row at each token."""
    count = np.maximum(np.bincount(row, minlength=rows), 1)
    mean = np.bincount(row, weights=logratio.numpy(), minlength=rows) / count
    return torch.tensor(mean[row], dtype=torch.float32)
