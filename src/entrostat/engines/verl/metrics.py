"""Sums over a micro-batch's trained tokens, and their means over a whole training step.

A worker hands verl sums, as metrics that verl adds over micro-batches and averages over ranks and mini-batches: a
factor that all share. So the driver's ratio of two of them is a mean over tokens, each counting the same.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound, clip_events
from entrostat.entropy import Region, TokenStats, entropy_change_own_term, regions

PREFIX = "entrostat/"
_SUMS = f"actor/{PREFIX}sums/"
_REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
_SHARES = ("clip_low", "clip_high", "clip_dual", "dropped")


@torch.no_grad()
def token_sums(
    stats: TokenStats,
    old_logprobs: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    low: Bound,
    high: Bound,
    dual: float,
) -> dict[str, float]:
    """Numbers of tokens, by what the clip did to them, and per region the own term of the entropy change, nats.

    Args:
        stats: of the current policy, nats; without an entropy the regions are left out.
        old_logprobs: of the old policy, nats.
        mask: trained tokens; the others may hold anything.
        low, high: half-widths of the window.
        dual: verl's clip_ratio_c, the ratio over which a token of negative advantage has no gradient.

    Returns:
        Sums by the keys that `step_means` divides: tokens, clip_low, clip_high, clip_dual (the dual clip alone),
        dropped (clipped at a ratio of 1 already), and R/share, R/own_term_kept, R/own_term_clipped for R in E1..E4.
    """
    logratio = stats.logprobs - old_logprobs
    events = clip_events(logratio, advantages, low=low, high=high)
    negative = advantages < 0
    over = (logratio.exp() > dual) & negative & ~events.low
    columns = [
        mask,
        events.low & mask,
        events.high & mask,
        over & mask,
        _dropped(negative, advantages, low, high, mask),
    ]
    counts = torch.stack([column.sum() for column in columns]).double()
    names = ["tokens", *_SHARES]
    if stats.entropy is not None:
        key = regions(stats.logprobs, stats.entropy, advantages) + 5 * (events.low | events.high | over)
        key = torch.where(mask, key, 10).reshape(-1)
        change = entropy_change_own_term(stats, logratio, advantages).reshape(-1)
        tokens, own = (counts.new_zeros(11) for _ in range(2))
        tokens.index_add_(0, key, torch.ones_like(change, dtype=torch.float64))
        own.index_add_(0, key, change.double())
        counts = torch.cat([counts, (tokens[1:5] + tokens[6:10]), own[1:5], own[6:10]])
        for what in ("share", "own_term_kept", "own_term_clipped"):
            names += [f"{region.name}/{what}" for region in _REGIONS]
    return {_SUMS + name: value for name, value in zip(names, counts.tolist(), strict=True)}


def step_means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the reduced sums out of a step's metrics and gives the means per trained token. Empty without sums."""
    sums = {key.removeprefix(_SUMS): float(metrics.pop(key)) for key in list(metrics) if key.startswith(_SUMS)}
    tokens = max(sums.pop("tokens", 0.0), 1e-9)
    return {PREFIX + name: value / tokens for name, value in sums.items()}


def _dropped(negative: Tensor, advantages: Tensor, low: Bound, high: Bound, mask: Tensor) -> Tensor:
    """Where the window does not let even a ratio of 1 through."""
    below, above = (torch.as_tensor(bound, device=mask.device) < 0 for bound in (low, high))
    return ((below & negative) | (above & (advantages > 0))) & mask
