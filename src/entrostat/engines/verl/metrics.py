"""Sums over a micro-batch's trained tokens, and their means over a whole training step.

A worker hands verl sums, as metrics that verl adds over micro-batches and averages over ranks and mini-batches: a
factor that all share. So the driver's ratio of two of them is a mean over tokens, each counting the same.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound
from entrostat.entropy import Region, TokenStats

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
    # few passes over memory, and into buffers that are there: this runs beside every loss call
    logratio = stats.logprobs - old_logprobs
    ratio = logratio.exp()
    advantages = torch.where(mask, advantages, 0.0)
    positive, negative = advantages > 0, advantages < 0
    below, above = (ratio < 1 - low).logical_and_(negative), (ratio > 1 + high).logical_and_(positive)
    dual_alone = (ratio > dual).logical_and_(negative).logical_and_(~below)
    counts = [mask, below, above, dual_alone, _dropped(positive, negative, low, high)]
    sums = torch.stack([torch.count_nonzero(each) for each in counts]).double()
    names = ["tokens", *_SHARES]
    if stats.entropy is not None:
        clipped = below.logical_or_(above).logical_or_(dual_alone)
        sums = torch.cat([sums, _by_region(stats, logratio, advantages, mask, positive, negative, clipped)])
        for what in ("share", "own_term_kept", "own_term_clipped"):
            names += [f"{region.name}/{what}" for region in _REGIONS]
    return {_SUMS + name: value for name, value in zip(names, sums.tolist(), strict=True)}


def _by_region(
    stats: TokenStats,
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    positive: Bool[Tensor, "b t"],
    negative: Bool[Tensor, "b t"],
    clipped: Bool[Tensor, "b t"],
) -> Float[Tensor, " 12"]:
    """Tokens, own terms of kept and own terms of clipped tokens, by region: `regions`, `entropy_change_own_term`."""
    assert stats.entropy is not None
    excess = stats.logprobs + stats.entropy
    likely, unlikely = excess > 0, excess < 0
    inside = excess.new_empty(4, *excess.shape)
    for out, sign, side in zip(inside, (positive, positive, negative, negative), (likely, unlikely) * 2, strict=True):
        torch.logical_and(sign, side, out=out)
    inside = inside.view(4, -1)
    # -A r Q_a, in the place of the log-ratio: r p = exp(ln r + ln p)
    own = logratio.add_(stats.logprobs).exp_().mul_(excess).mul_(advantages).neg_().masked_fill_(~mask, 0.0)
    held = own * clipped
    parts = (inside.sum(1), torch.mv(inside, own.sub_(held).view(-1)), torch.mv(inside, held.view(-1)))
    return torch.cat(parts).double()


def step_means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the reduced sums out of a step's metrics and gives the means per trained token. Empty without sums."""
    sums = {key.removeprefix(_SUMS): float(metrics.pop(key)) for key in list(metrics) if key.startswith(_SUMS)}
    tokens = max(sums.pop("tokens", 0.0), 1e-9)
    return {PREFIX + name: value / tokens for name, value in sums.items()}


def _dropped(positive: Tensor, negative: Tensor, low: Bound, high: Bound) -> Tensor:
    """Where the window does not let even a ratio of 1 through."""
    below, above = (torch.as_tensor(bound, device=negative.device) < 0 for bound in (low, high))
    return (below & negative).logical_or_(above & positive)
