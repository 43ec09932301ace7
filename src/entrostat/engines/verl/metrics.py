"""Sums over a micro-batch's trained tokens, and their means over a whole training step.

A worker hands verl sums, as metrics that verl adds over micro-batches and averages over
ranks and mini-batches: a factor that all share. So the driver's ratio of two of them is a
mean over tokens, each counting the same.

`token_sums` runs beside every loss call, so `_sums` is written for speed:

- It makes few passes over memory and few new tensors, whose pages the system has to
  clear. What is no longer needed is overwritten (`logratio`, `excess`).
- It has no `where`, which costs as much as ten products on a CPU. Masked tokens are left
  out by `positive` and `negative`, which are False there.
- A masked token may hold NaN or inf, and 0 x NaN is NaN. Only when that happens are the
  inputs cleaned and the sums taken again.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound
from entrostat.engines.region_sums import change_names, means, region_names
from entrostat.entropy import TokenStats

PREFIX = "entrostat/"
_SUMS = f"actor/{PREFIX}sums/"
_COUNTS = ("tokens", "clip_low", "clip_high", "clip_dual", "dropped")
"""The first sums, in this order."""
_REGION_SUMS = (*region_names("share"), *change_names("own_term"))
"""The sums behind them, where the entropy is known."""


class _Clip(NamedTuple):
    """Trained tokens by what the clip did to them, (b t); () where there are none."""

    low: Bool[Tensor, "..."]
    """Under the window, A < 0."""
    high: Bool[Tensor, "..."]
    """Over the window, A > 0."""
    dual: Bool[Tensor, "..."]
    """Over the dual clip's ratio, A < 0, and not under the window."""
    dropped: Bool[Tensor, "..."]
    """Clipped already at a ratio of 1."""


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
    """Numbers of tokens, by what the clip did to them, and per region the own term of
    the entropy change, nats.

    Args:
        stats: of the current policy, nats; without an entropy the regions are left out.
        old_logprobs: of the old policy, nats.
        mask: trained tokens; the others may hold anything.
        low, high: half-widths of the window.
        dual: verl's clip_ratio_c, the ratio over which a token of negative advantage
            has no gradient.

    Returns:
        Sums by the keys that `step_means` divides: tokens, clip_low, clip_high,
        clip_dual (the dual clip alone), dropped (clipped at a ratio of 1 already), and
        R/share, R/own_term_kept, R/own_term_clipped for R in E1..E4.
    """
    sums = _sums(stats, old_logprobs, advantages, mask, low, high, dual)
    if not all(map(math.isfinite, sums)):
        # what a masked token holds, or the ln p = -inf of an impossible token
        entropy = None if stats.entropy is None else _tamed(stats.entropy, mask)
        stats = TokenStats(_tamed(stats.logprobs, mask), entropy)
        old_logprobs = _tamed(old_logprobs, mask)
        sums = _sums(stats, old_logprobs, advantages, mask, low, high, dual)
    names = _COUNTS if stats.entropy is None else _COUNTS + _REGION_SUMS
    return {_SUMS + name: total for name, total in zip(names, sums, strict=True)}


def step_means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the reduced sums out of a step's metrics and gives the means per trained
    token. Empty without sums."""
    sums = {}
    for key in list(metrics):
        if key.startswith(_SUMS):
            sums[key.removeprefix(_SUMS)] = float(metrics.pop(key))
    if not sums:
        return {}
    return {PREFIX + name: mean for name, mean in means(sums).items()}


def _sums(
    stats: TokenStats,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    low: Bound,
    high: Bound,
    dual: float,
) -> list[float]:
    """The sums in the order of _COUNTS and _REGION_SUMS. See the module for its
    style."""
    logratio = stats.logprobs - old_logprobs
    positive = (advantages > 0).logical_and_(mask)
    negative = (advantages < 0).logical_and_(mask)
    clip = _clip(logratio, positive, negative, low, high, dual)
    counted = [mask, *clip]
    if stats.entropy is None:
        return _counts(counted).tolist()

    excess = stats.logprobs + stats.entropy
    likely, unlikely = excess > 0, excess < 0
    counted += [
        positive & likely,  # E1
        positive & unlikely,  # E2
        negative & likely,  # E3
        negative & unlikely,  # E4
    ]
    # A r Q_a, whose negative is the entropy change; r p = exp(ln r + ln p)
    term = logratio.add_(stats.logprobs).exp_().mul_(excess).mul_(advantages)
    is_clipped = (clip.low | clip.high).logical_or_(clip.dual)
    clipped_term = is_clipped.to(term.dtype).mul_(term)
    kept_term = term.sub_(clipped_term)

    signs = _stacked(positive, negative, term.dtype)
    kept = _changes(kept_term, signs, scratch=excess)
    clipped = _changes(clipped_term, signs, scratch=excess)
    return torch.cat([_counts(counted).double(), kept, clipped]).tolist()


def _clip(
    logratio: Tensor,
    positive: Tensor,
    negative: Tensor,
    low: Bound,
    high: Bound,
    dual: float,
) -> _Clip:
    """What the clip does to the trained tokens, of positive and of negative
    advantage."""
    below, above = _outside(logratio, low, high)
    below.logical_and_(negative)
    above.logical_and_(positive)
    nowhere = torch.zeros((), dtype=torch.bool, device=logratio.device)
    past_dual = nowhere
    # the largest ratio of a micro-batch is rarely past the dual clip: one pass tells.
    # "not <=" and not ">", so that a NaN takes the long way too
    if not logratio.max() <= math.log(dual):
        past_dual = (logratio > math.log(dual)).logical_and_(negative)
        past_dual.logical_and_(~below)
    numbers = not isinstance(low, Tensor) and not isinstance(high, Tensor)
    if numbers and low >= 0 and high >= 0:
        return _Clip(below, above, past_dual, dropped=nowhere)
    shut_below = torch.as_tensor(low, device=logratio.device) < 0
    shut_above = torch.as_tensor(high, device=logratio.device) < 0
    dropped = (shut_below & negative).logical_or_(shut_above & positive)
    return _Clip(below, above, past_dual, dropped)


def _outside(logratio: Tensor, low: Bound, high: Bound) -> tuple[Tensor, Tensor]:
    """Where the ratio is under 1 - low, and where it is over 1 + high."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        ratio = logratio.exp()
        return ratio < 1 - low, ratio > 1 + high
    return logratio < _log(1 - low), logratio > _log(1 + high)


def _log(bound: float) -> float:
    """ln of a bound of the ratio, to compare log-ratios with; no ratio is under 0."""
    return math.log(bound) if bound > 0 else -math.inf


def _stacked(positive: Tensor, negative: Tensor, dtype: torch.dtype) -> Tensor:
    """Both masks as 0 and 1, (2 b*t): a product with them sums by the sign of A."""
    signs = torch.empty(2, *positive.shape, dtype=dtype, device=positive.device)
    signs[0], signs[1] = positive, negative
    return signs.view(2, -1)


def _changes(term: Tensor, signs: Tensor, *, scratch: Tensor) -> Tensor:
    """The entropy change, the negative of A r Q_a, summed per region E1 to E4; float64.

    With the sign of A known, the sign of the term says on which side of H the token is:
    a positive term is A > 0 and likely (E1), or A < 0 and unlikely (E4).
    """
    over = torch.clamp(term, min=0, out=scratch).reshape(-1)
    e1, e4 = torch.mv(signs, over).neg()
    under = torch.clamp(term, max=0, out=scratch).reshape(-1)
    e2, e3 = torch.mv(signs, under).neg()
    return torch.stack([e1, e2, e3, e4]).double()


def _counts(masks: list[Tensor]) -> Tensor:
    """How many are True in each. As bytes: twice as fast as count_nonzero."""
    totals = [mask.view(torch.uint8).sum(dtype=torch.int32) for mask in masks]
    return torch.stack(totals)


def _tamed(values: Tensor, mask: Tensor) -> Tensor:
    """0 where masked, and no infinity."""
    return torch.where(mask, values, 0.0).clamp(min=torch.finfo(values.dtype).min)
