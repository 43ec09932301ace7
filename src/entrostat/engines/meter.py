"""Sums over the trained tokens of a logging window: clip shares and, per region, token
shares and entropy change.

Everything is a sum over tokens until the window is read (region_sums.py).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrostat.clip import Bound, ClipEvents
from entrostat.engines.region_sums import REGIONS, change_names, means, region_names
from entrostat.entropy import (
    Region,
    TokenStats,
    entropy_change,
    entropy_change_own_term,
    regions,
)

_COUNTS = ("tokens", "clip_low", "clip_high", "dropped", *region_names("share"))
"""The first sums, in this order; behind them two per region, of kept and of clipped
tokens' entropy change."""

SumsOf = Callable[[Tensor], TokenStats]


class Window(NamedTuple):
    """What decided on clip events."""

    logratio: Float[Tensor, "b t"]
    """Of the ratio that is clipped: the token's own, or its sequence's."""
    low: Bound
    high: Bound


class TokenSample(NamedTuple):
    """Tokens that the meter sampled, (n,) each, on the CPU, in the order of the
    updates."""

    logratio: Float[Tensor, " n"]
    """Of the ratio that is clipped, in nats."""
    advantages: Float[Tensor, " n"]
    change: Float[Tensor, " n"]
    """Entropy change as if nothing were clipped, nats per unit step; 0 where no region
    counts the token."""
    weight: Float[Tensor, " n"]
    """How many tokens of its micro-batch each stands for."""
    low: Float[Tensor, " n"]
    high: Float[Tensor, " n"]
    clipped: Bool[Tensor, " n"]
    """Whether the clip took its gradient under these bounds."""


class RegionMeter:
    """Accumulates one window. `exact` says whether the change is -A r [Q_a - E[Q]] or
    the token's own term -A r Q_a.

    Args:
        over_ranks: sums a tensor over ranks. Each `add` calls it, where all ranks are;
            `read` may come on one rank alone. None: there is one rank.
    """

    def __init__(self, over_ranks: Callable[[Tensor], Tensor] | None = None):
        self._over_ranks = over_ranks
        self.sums: Float[Tensor, " n"] | None = None
        self.exact = True
        self._samples: list[TokenSample] = []

    def add(
        self,
        stats: TokenStats,
        logratio: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b #t"],
        events: ClipEvents,
        mask: Bool[Tensor, "b t"],
        *,
        dropped: Bool[Tensor, "b t"] | None = None,
        sample: Float[Tensor, ""] | None = None,
        share: float = 1.0,
        full_stats: SumsOf | None = None,
        keep: Window | None = None,
    ) -> None:
        """Adds a micro-batch under the policy of its own forward pass.

        Args:
            stats: log-probabilities and entropy of the current policy, in nats.
            logratio: current minus old log-probability.
            advantages: per sequence or per token.
            events: where the clip has zeroed the gradient.
            mask: trained tokens; the others may hold anything.
            dropped: where the window does not let even a ratio of 1 through; None for
                nowhere.
            sample: a uniform draw in [0, 1) that picks the `share` of tokens whose
                full-vocabulary sums are taken. Systematic sampling: every token has the
                same chance, so the mean is unbiased.
            full_stats: gives the stats with sums at flat indices (k,) into (b t), as
                (1 k). None: own term alone.
            keep: the window behind the events, to keep the sampled tokens with until
                `take_tokens`. Only where the change is exact; None keeps nothing.
        """
        assert stats.entropy is not None
        advantages = advantages.expand_as(logratio)
        # all trained tokens from here on: indices into the flat (b t), and what is there
        flat = mask.reshape(-1).nonzero().squeeze(-1)
        region = _at(regions(stats.logprobs, stats.entropy, advantages), flat)
        low = _at(events.low, flat)
        high = _at(events.high, flat)
        shut = torch.zeros_like(low) if dropped is None else _at(dropped, flat)
        counts = _count(low, high, shut, region)
        changes = counts.new_zeros(2 * len(REGIONS))
        if len(flat):
            share = share if full_stats is not None else 1.0
            chosen = _systematic(len(flat), share, sample, flat.device)
            at = flat[chosen]
            weight = len(flat) / len(chosen)
            change = _change(stats, logratio, advantages, at, full_stats)
            change = torch.where(region[chosen] == Region.NONE, 0.0, change)
            clipped = (low | high)[chosen]
            changes = _change_sums(change * weight, region[chosen], clipped)
            if keep is not None and full_stats is not None:
                kept = _sample(keep, at, _at(advantages, at), change, clipped, weight)
                self._samples.append(kept)
        self.exact = full_stats is not None
        sums = torch.cat([counts, changes])
        if self._over_ranks is not None:
            sums = self._over_ranks(sums)
        self.sums = sums if self.sums is None else self.sums + sums

    def take_tokens(self) -> TokenSample | None:
        """The tokens kept since the last call, of this rank alone: already an unbiased
        sample of its own tokens, and no rank waits for another. None where there are
        none."""
        samples, self._samples = self._samples, []
        if not samples:
            return None
        columns = zip(*samples, strict=True)
        return TokenSample(*(torch.cat(column) for column in columns))

    def read(self) -> dict[str, float]:
        """The window's means per trained token, over all ranks, and a new window. Empty
        when nothing was added.

        Keys: clip_low, clip_high, dropped (shares of tokens; dropped: clipped already at
        ratio 1), and for R in E1..E4: R/share, and R/change_kept, R/change_clipped (nats
        per unit step along the policy's gradient, per trained token; clipped: what the
        clip held back). Where the sums are missing the last two are R/own_term_kept and
        R/own_term_clipped.
        """
        if self.sums is None:
            return {}
        totals = self.sums.tolist()
        self.sums = None
        names = [*_COUNTS, *change_names("change" if self.exact else "own_term")]
        return means(dict(zip(names, totals, strict=True)))


def _at(values: Tensor, flat: Tensor) -> Tensor:
    return values.reshape(-1)[flat]


def _count(
    low: Bool[Tensor, " n"],
    high: Bool[Tensor, " n"],
    shut: Bool[Tensor, " n"],
    region: Int[Tensor, " n"],
) -> Float[Tensor, " 8"]:
    """How many of n tokens there are of each of `_COUNTS`."""
    counted = [torch.ones_like(low), low, high, shut]
    counted += [region == each for each in REGIONS]
    return torch.stack(counted).sum(1).float()


def _systematic(
    n: int,
    share: float,
    draw: Tensor | None,
    device: torch.device,
) -> Int[Tensor, " k"]:
    """Which of n to take: a share of them, at equal distances, from a start that `draw`
    in [0, 1) sets."""
    k = max(1, math.ceil(share * n))
    if k >= n:
        return torch.arange(n, device=device)
    start = 0.0 if draw is None else float(draw)
    places = (torch.arange(k, device=device) + start) * (n / k)
    return places.long().clamp(max=n - 1)


def _change(
    stats: TokenStats,
    logratio: Tensor,
    advantages: Tensor,
    at: Tensor,
    full_stats: SumsOf | None,
) -> Float[Tensor, " k"]:
    """The entropy change of the tokens at flat indices `at`, as if nothing were clipped:
    exact where there are sums, else the own term."""
    # entropy_change takes rows of tokens: here one
    row_logratio, row_advantages = _at(logratio, at)[None], _at(advantages, at)[None]
    if full_stats is not None:
        change = entropy_change(full_stats(at), row_logratio, row_advantages)
    else:
        assert stats.entropy is not None
        row = TokenStats(_at(stats.logprobs, at)[None], _at(stats.entropy, at)[None])
        change = entropy_change_own_term(row, row_logratio, row_advantages)
    return change[0].float()


def _change_sums(
    change: Float[Tensor, " k"],
    region: Int[Tensor, " k"],
    clipped: Bool[Tensor, " k"],
) -> Float[Tensor, " 8"]:
    """The change summed per region, first of kept tokens, then of clipped ones."""
    inside = region != Region.NONE
    block = (region - int(Region.E1)) + len(REGIONS) * clipped
    sums = change.new_zeros(2 * len(REGIONS))
    return sums.index_add_(0, block[inside], change[inside])


def _sample(
    window: Window,
    at: Tensor,
    advantages: Tensor,
    change: Tensor,
    clipped: Tensor,
    weight: float,
) -> TokenSample:
    """The tokens at flat indices `at`, with their window, on the CPU."""
    logratio = window.logratio

    def bound(value: Bound) -> Tensor:
        whole = torch.as_tensor(value, dtype=logratio.dtype, device=logratio.device)
        return _at(whole.expand_as(logratio), at)

    sample = TokenSample(
        logratio=_at(logratio, at),
        advantages=advantages,
        change=change,
        weight=torch.full_like(change, weight),
        low=bound(window.low),
        high=bound(window.high),
        clipped=clipped,
    )
    return TokenSample(*(column.cpu() for column in sample))
