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
        logprobs = _tamed(stats.logprobs, mask)
        entropy = None if stats.entropy is None else _tamed(stats.entropy, mask)
        stats = TokenStats(logprobs, entropy)
        old_logprobs = _tamed(old_logprobs, mask)
        sums = _sums(stats, old_logprobs, advantages, mask, low, high, dual)
    names = _COUNTS if stats.entropy is None else _COUNTS + _REGION_SUMS
    return {_SUMS + name: total for name, total in zip(names, sums, strict=True)}


def step_means(metrics: dict[str, float]) -> dict[str, float]:
    """Takes the reduced sums out of a step's metrics and gives the means per trained
    token. Empty without sums."""
    ours = [key for key in metrics if key.startswith(_SUMS)]
    if not ours:
        return {}
    sums = {}
    for key in ours:
        name = key.removeprefix(_SUMS)
        sums[name] = float(metrics.pop(key))
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
    positive = advantages > 0
    positive &= mask
    negative = advantages < 0
    negative &= mask
    clip = _clip(logratio, positive, negative, low, high, dual)
    counted = [mask, *clip]
    if stats.entropy is None:
        return _counts(counted).tolist()

    excess = stats.logprobs + stats.entropy
    counted += _regions(excess, positive, negative)
    term = _own_term(stats.logprobs, logratio, excess, advantages)
    clipped_term = _clipped_part(term, clip)
    term -= clipped_term

    signs = _stacked(positive, negative, term.dtype)
    kept = _changes(term, signs, scratch=excess)
    clipped = _changes(clipped_term, signs, scratch=excess)
    counts = _counts(counted).double()
    return torch.cat([counts, kept, clipped]).tolist()


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
    below &= negative
    above &= positive
    past_dual = _past_dual(logratio, negative, below, math.log(dual))
    dropped = _shut(positive, negative, low, high)
    return _Clip(below, above, past_dual, dropped)


def _past_dual(
    logratio: Tensor, negative: Tensor, below: Tensor, log_dual: float
) -> Tensor:
    """Tokens that the dual clip alone has stopped."""
    # the largest ratio of a micro-batch is rarely past the dual clip: one pass tells.
    # "not <=" and not ">", so that a NaN takes the long way too
    if logratio.max() <= log_dual:
        return _nowhere(logratio)
    past_dual = logratio > log_dual
    past_dual &= negative
    past_dual &= ~below
    return past_dual


def _shut(positive: Tensor, negative: Tensor, low: Bound, high: Bound) -> Tensor:
    """Tokens that the window leaves out at a ratio of 1 already."""
    are_numbers = not isinstance(low, Tensor) and not isinstance(high, Tensor)
    if are_numbers and low >= 0 and high >= 0:
        return _nowhere(positive)
    shut_below = torch.as_tensor(low, device=positive.device) < 0
    shut_above = torch.as_tensor(high, device=positive.device) < 0
    dropped_below = negative & shut_below
    dropped_above = positive & shut_above
    return dropped_below | dropped_above


def _nowhere(like: Tensor) -> Tensor:
    """No token at all; ()."""
    return torch.zeros((), dtype=torch.bool, device=like.device)


def _outside(logratio: Tensor, low: Bound, high: Bound) -> tuple[Tensor, Tensor]:
    """Where the ratio is under 1 - low, and where it is over 1 + high."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        ratio = logratio.exp()
        return ratio < 1 - low, ratio > 1 + high
    return logratio < _log(1 - low), logratio > _log(1 + high)


def _log(bound: float) -> float:
    """ln of a bound of the ratio, to compare log-ratios with; no ratio is under 0."""
    return math.log(bound) if bound > 0 else -math.inf


def _regions(excess: Tensor, positive: Tensor, negative: Tensor) -> list[Tensor]:
    """The tokens of E1 to E4. Excess is ln p + H: over 0 where the token is likely."""
    likely = excess > 0
    unlikely = excess < 0
    return [
        positive & likely,
        positive & unlikely,
        negative & likely,
        negative & unlikely,
    ]


def _own_term(
    logprobs: Tensor, logratio: Tensor, excess: Tensor, advantages: Tensor
) -> Tensor:
    """A r p (ln p + H), whose negative is the token's own part of the entropy change.
    It overwrites `logratio`."""
    # r p = exp(ln r + ln p)
    term = logratio
    term += logprobs
    term.exp_()
    term *= excess
    term *= advantages
    return term


def _clipped_part(term: Tensor, clip: _Clip) -> Tensor:
    """The term where the clip stopped the token, 0 elsewhere."""
    is_clipped = clip.low | clip.high
    is_clipped |= clip.dual
    # a product of two types takes twice the time
    part = is_clipped.to(term.dtype)
    part *= term
    return part


def _stacked(positive: Tensor, negative: Tensor, dtype: torch.dtype) -> Tensor:
    """Both masks as 0 and 1, (2 b*t): a product with them sums by the sign of A."""
    signs = torch.empty(2, *positive.shape, dtype=dtype, device=positive.device)
    signs[0] = positive
    signs[1] = negative
    return signs.view(2, -1)


def _changes(term: Tensor, signs: Tensor, *, scratch: Tensor) -> Tensor:
    """The entropy change, the negative of the term, summed per region E1 to E4; float64.

    With the sign of A known, the sign of the term says on which side of H the token is:
    a positive term is A > 0 and likely (E1), or A < 0 and unlikely (E4).
    """
    over = torch.clamp(term, min=0, out=scratch)
    e1, e4 = torch.mv(signs, over.reshape(-1))
    # scratch is used again, so the sums above must be taken
    under = torch.clamp(term, max=0, out=scratch)
    e2, e3 = torch.mv(signs, under.reshape(-1))
    falls = torch.stack([e1, e2, e3, e4])
    return falls.neg().double()


def _counts(masks: list[Tensor]) -> Tensor:
    """How many are True in each. As bytes: twice as fast as count_nonzero."""
    totals = []
    for mask in masks:
        as_bytes = mask.view(torch.uint8)
        totals.append(as_bytes.sum(dtype=torch.int32))
    return torch.stack(totals)


def _tamed(values: Tensor, mask: Tensor) -> Tensor:
    """0 where masked, and no infinity."""
    trained = torch.where(mask, values, 0.0)
    return trained.clamp(min=torch.finfo(values.dtype).min)
