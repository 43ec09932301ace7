"""A batch of a dump's rows as flat arrays: what diagnosis sums, per trained token."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from entrostat.diagnose.grid import BINS, bin_of
from entrostat.diagnose.plan import Plan
from entrostat.diagnose.types import Floats, Ints
from entrostat.dump import per_token
from entrostat.entropy import (
    Region,
    TokenStats,
    entropy_change,
    entropy_change_own_term,
    regions,
)

Columns = dict[str, np.ndarray]
"""Of the trained tokens, by the name of the dump's column."""

KEPT, LOW, HIGH = 0, 1, 2
EVENTS = ("kept", "clip-low", "clip-high")
NO_BIN = BINS
"""The bin of a token that no threshold of the grid gives back: one past the others."""


class Tokens(NamedTuple):
    """The trained tokens of a batch of rows, (n,) each."""

    row: Ints
    """Within the batch."""
    position: Ints
    """Within the completion, from 0."""
    ids: Ints
    advantages: Floats
    event: Ints
    """KEPT, LOW or HIGH; KEPT where events are not known."""
    logratio: np.ndarray | None
    """ln of the ratio that is clipped, float32: the token's own, or its sequence's.
    None where ratios are not known."""
    bin: Ints | None
    """Of the grid of thresholds (grid.bin_of); NO_BIN where a dual clip took the token,
    whatever the thresholds. None where ratios are not known."""
    kl: Floats | None
    """exp(x) - 1 - x of the token's own log-ratio x. Its mean is the KL of the policy
    at the start of the rollout's updates from this pass's, nats per token (k3 of
    Schulman 2020, on samples of the first, as it must be). None where ratios are not
    known."""
    start: Floats
    """Entropy of the policy at the start of the rollout's updates; NaN: not known."""
    change: Floats
    """First-order entropy change as if nothing were clipped, nats per unit step; 0
    where entropy is not known."""
    region: Ints
    """NONE where entropy is not known."""
    low: np.ndarray | None
    """Clip half-widths in force, float32; None where the dump has none."""
    high: np.ndarray | None


def tokens_of(batch: pa.RecordBatch, plan: Plan) -> Tokens:
    """The trained tokens of `batch`, rows of a dump that `plan` was made for.

    Ratios are compared in float32, as trainers do; changes are computed in float64.
    """
    columns = per_token(batch)
    advantages = columns["advantages"].astype(np.float64)
    event = _events(columns, plan)
    own_logratio = logratio = bins = kl = None
    if plan.has("old_logprobs"):
        own_logratio = _own_logratio(columns)
        logratio = own_logratio
        if plan.by_sequence:
            logratio = _sequence_means(own_logratio, columns["row"], batch.num_rows)
        dual_clipped = (event == HIGH) & ~(advantages > 0)
        bins = np.where(dual_clipped, NO_BIN, bin_of(logratio, advantages))
        kl = _kl(own_logratio.astype(np.float64))
    return Tokens(
        row=columns["row"],
        position=columns["position"],
        ids=columns["tokens"].astype(np.int64),
        advantages=advantages,
        event=event,
        logratio=logratio,
        bin=bins,
        kl=kl,
        start=_start_entropy(columns, plan),
        change=_change(columns, plan, logratio),
        region=_region(columns, plan),
        low=columns.get("low") if plan.has("low") else None,
        high=columns.get("high") if plan.has("high") else None,
    )


def _own_logratio(columns: Columns) -> np.ndarray:
    """In float32, as in the loss, and in torch, which overflows without a warning."""
    new = torch.tensor(columns["logprobs"])
    old = torch.tensor(columns["old_logprobs"])
    return (new - old).numpy()


def _events(columns: Columns, plan: Plan) -> Ints:
    event = np.full(len(columns["row"]), KEPT)
    if plan.has("clipped"):
        event[columns["clipped"] == -1] = LOW
        event[columns["clipped"] == 1] = HIGH
    return event


def _change(
    columns: Columns,
    plan: Plan,
    logratio: np.ndarray | None,
) -> Floats:
    """-A r [Q_a - E[Q]], or -A r Q_a alone where the sums for E[Q] are missing."""
    if not plan.has("entropy"):
        return np.zeros(len(columns["row"]))
    if logratio is None:
        logratio = np.zeros(len(columns["row"]))
    names = ["logprobs", "entropy"]
    change_of = entropy_change_own_term
    if plan.exact:
        names += ["sum_p2", "sum_p2_logp"]
        change_of = entropy_change
    stats = [_row(columns[name]).double() for name in names]
    change = change_of(
        TokenStats(*stats),
        _row(logratio).double(),
        _row(columns["advantages"]).double(),
    )
    return change[0].numpy()


def _row(column: np.ndarray) -> Tensor:
    """As one row of tokens, (1, n)."""
    return torch.tensor(column)[None]


def _region(columns: Columns, plan: Plan) -> Ints:
    if not plan.has("entropy"):
        return np.full_like(columns["row"], Region.NONE)
    # in float32, which decides on tokens at the edge between two regions as a run does
    region = regions(
        _row(columns["logprobs"]),
        _row(columns["entropy"]),
        _row(columns["advantages"]),
    )
    return region[0].numpy()


def _kl(logratio: Floats) -> Floats:
    # an infinite KL is a fact about the run, no reason for a warning
    with np.errstate(over="ignore"):
        return np.expm1(logratio) - logratio


def _start_entropy(columns: Columns, plan: Plan) -> Floats:
    """old_entropy, or else the entropy of passes before the first update.

    Where passes are not told apart, that of all of them.
    """
    if plan.has("old_entropy"):
        return columns["old_entropy"].astype(np.float64)
    if not plan.has("entropy"):
        return np.full(len(columns["row"]), np.nan)
    entropy = columns["entropy"].astype(np.float64)
    if plan.has("update"):
        return np.where(columns["update"] == 0, entropy, np.nan)
    return entropy


def _sequence_means(
    logratio: np.ndarray,
    row: Ints,
    rows: int,
) -> np.ndarray:
    """At each token the mean over its row's trained tokens, float32."""
    count = np.maximum(np.bincount(row, minlength=rows), 1)
    mean = np.bincount(row, weights=logratio, minlength=rows) / count
    return mean[row].astype(np.float32)
