"""Sums over a micro-batch's trained tokens, and their means over a whole training step.

A worker hands verl sums, as metrics that verl adds over micro-batches and averages over ranks and mini-batches: a
factor that all share. So the driver's ratio of two of them is a mean over tokens, each counting the same.
"""

import math

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
    names = ["tokens", *_SHARES]
    if stats.entropy is not None:
        for what in ("share", "own_term_kept", "own_term_clipped"):
            names += [f"{region.name}/{what}" for region in _REGIONS]
    sums = _sums(stats, old_logprobs, advantages, mask, low, high, dual)
    if not all(
        map(math.isfinite, sums)
    ):  # what a masked token holds, or an impossible token's ln p
        stats = TokenStats(*(None if x is None else _tame(x, mask) for x in stats[:2]))  # pyright: ignore[reportArgumentType]
        sums = _sums(
            stats, _tame(old_logprobs, mask), advantages, mask, low, high, dual
        )
    return {_SUMS + name: value for name, value in zip(names, sums, strict=True)}


def _sums(
    stats: TokenStats,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    low: Bound,
    high: Bound,
    dual: float,
) -> list[float]:
    """The sums in the order of their names. It runs beside every loss call: few passes over memory, and no `where`,
    which costs as much as ten products on a CPU; few new tensors, whose pages the system has to clear."""
    logratio = stats.logprobs - old_logprobs
    positive, negative = (
        (advantages > 0).logical_and_(mask),
        (advantages < 0).logical_and_(mask),
    )
    below, above = _beyond(logratio, low, high)
    below.logical_and_(negative)
    above.logical_and_(positive)
    dual_alone = torch.zeros((), dtype=torch.bool, device=mask.device)
    if not logratio.max() <= math.log(dual):  # also where the largest is NaN
        dual_alone = (
            (logratio > math.log(dual)).logical_and_(negative).logical_and_(~below)
        )
    dropped = _dropped(positive, negative, low, high)
    counted = [mask, below, above, dual_alone, dropped]
    if stats.entropy is None:
        return _counts(counted).tolist()
    excess = stats.logprobs + stats.entropy
    likely, unlikely = excess > 0, excess < 0
    counted += [
        positive & likely,
        positive & unlikely,
        negative & likely,
        negative & unlikely,
    ]
    # A r Q_a, whose negative is the entropy change; r p = exp(ln r + ln p)
    own, spare = (
        logratio.add_(stats.logprobs).exp_().mul_(excess).mul_(advantages),
        excess,
    )
    held = (below | above).logical_or_(dual_alone).to(own.dtype).mul_(own)
    own.sub_(held)
    signs = own.new_empty(2, *own.shape)
    signs[0], signs[1] = positive, negative
    signs = signs.view(2, -1)
    # with the sign of A known, that of the term says which side of H the token is on: E1, E4 | E2, E3
    terms = []
    for each in (own, held):
        first, fourth = torch.mv(
            signs, torch.clamp(each, min=0, out=spare).reshape(-1)
        ).neg()
        second, third = torch.mv(
            signs, torch.clamp(each, max=0, out=spare).reshape(-1)
        ).neg()
        terms += [first, second, third, fourth]
    return torch.cat([_counts(counted).double(), torch.stack(terms).double()]).tolist()


def _beyond(logratio: Tensor, low: Bound, high: Bound) -> tuple[Tensor, Tensor]:
    """Where the ratio is under 1 - low, and where it is over 1 + high."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        ratio = logratio.exp()
        return ratio < 1 - low, ratio > 1 + high
    floor, cap = (math.log(x) if x > 0 else -math.inf for x in (1 - low, 1 + high))
    return logratio < floor, logratio > cap


def _counts(counted: list[Tensor]) -> Tensor:
    """How many are true in each. As bytes: twice as fast as count_nonzero."""
    return torch.stack(
        [each.view(torch.uint8).sum(dtype=torch.int32) for each in counted]
    )


def _tame(values: Tensor, mask: Tensor) -> Tensor:
    """0 where masked, and no infinity."""
    return torch.where(mask, values, 0.0).clamp(min=torch.finfo(values.dtype).min)


def step_means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the reduced sums out of a step's metrics and gives the means per trained token. Empty without sums."""
    sums = {
        key.removeprefix(_SUMS): float(metrics.pop(key))
        for key in list(metrics)
        if key.startswith(_SUMS)
    }
    tokens = max(sums.pop("tokens", 0.0), 1e-9)
    return {PREFIX + name: value / tokens for name, value in sums.items()}


def _dropped(positive: Tensor, negative: Tensor, low: Bound, high: Bound) -> Tensor:
    """Where the window does not let even a ratio of 1 through."""
    if (
        not isinstance(low, Tensor)
        and not isinstance(high, Tensor)
        and low >= 0
        and high >= 0
    ):
        return torch.zeros((), dtype=torch.bool, device=negative.device)
    below, above = (
        torch.as_tensor(bound, device=negative.device) < 0 for bound in (low, high)
    )
    return (below & negative).logical_or_(above & positive)
