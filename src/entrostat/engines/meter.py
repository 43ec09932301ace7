"""Sums over the trained tokens of a logging window: clip shares and, per region, token shares and entropy change.

Everything is a sum over tokens until the window is read, so that micro-batches and ranks of any size weigh by tokens.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound, ClipEvents
from entrostat.entropy import (
    Region,
    TokenStats,
    entropy_change,
    entropy_change_own_term,
    regions,
)

REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
# tokens, clipped low, clipped high, dropped, then per region: tokens, change of kept tokens, change of clipped tokens
_SIZE = 4 + 3 * len(REGIONS)

SumsOf = Callable[[Tensor], TokenStats]


class Window(NamedTuple):
    """What decided on clip events."""

    logratio: Float[Tensor, "b t"]
    """Of the ratio that is clipped: the token's own, or its sequence's."""
    low: Bound
    high: Bound


class TokenSample(NamedTuple):
    """Tokens that the meter sampled, (n,) each, on the CPU, in the order of the updates."""

    logratio: Float[Tensor, " n"]
    """Of the ratio that is clipped, in nats."""
    advantages: Float[Tensor, " n"]
    change: Float[Tensor, " n"]
    """Entropy change as if nothing were clipped, nats per unit step; 0 where no region counts the token."""
    weight: Float[Tensor, " n"]
    """How many tokens of its micro-batch each stands for."""
    low: Float[Tensor, " n"]
    high: Float[Tensor, " n"]
    clipped: Bool[Tensor, " n"]
    """Whether the clip took its gradient under these bounds."""


class RegionMeter:
    """Accumulates one window. `exact` says whether the change is -A r [Q_a - E[Q]] or the token's own term -A r Q_a."""

    def __init__(self):
        self.sums: Float[Tensor, " n"] | None = None
        self.exact = True
        self._kept: list[TokenSample] = []

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
            dropped: where the window does not let even a ratio of 1 through; None for nowhere.
            sample: a uniform draw in [0, 1) that picks the `share` of tokens whose full-vocabulary sums are taken.
                Systematic sampling: every token has the same chance, so the mean is unbiased.
            full_stats: gives the stats with sums at flat indices (k,) into (b t), as (1 k). None: own term alone.
            keep: the window behind the events, to keep the sampled tokens with until `take_tokens`. Only where the
                change is exact; None keeps nothing.
        """
        assert stats.entropy is not None
        flat = mask.reshape(-1).nonzero().squeeze(-1)
        n = flat.numel()
        advantages = advantages.expand_as(logratio)
        region = _at(regions(stats.logprobs, stats.entropy, advantages), flat)
        low, high = _at(events.low, flat), _at(events.high, flat)
        out = logratio.new_zeros(_SIZE, dtype=torch.float32)
        out[0] = n
        out[1], out[2] = low.sum(), high.sum()
        out[3] = 0 if dropped is None else _at(dropped, flat).sum()
        out[4:8] = torch.stack([(region == r).sum() for r in REGIONS])
        if n:
            chosen = _systematic(
                n, share if full_stats is not None else 1.0, sample, flat.device
            )
            at, region, clipped = flat[chosen], region[chosen], (low | high)[chosen]
            weight = n / len(chosen)
            terms = (_at(logratio, at)[None], _at(advantages, at)[None])
            if full_stats is not None:
                change = entropy_change(full_stats(at), *terms)[0]
            else:
                own = TokenStats(
                    _at(stats.logprobs, at)[None], _at(stats.entropy, at)[None]
                )
                change = entropy_change_own_term(own, *terms)[0]
            counted = region != Region.NONE
            key = (region - int(Region.E1)) + 4 * clipped
            out[8:].index_add_(0, key[counted], change[counted].float() * weight)
            if keep is not None and full_stats is not None:
                change = torch.where(counted, change, 0.0)
                self._kept.append(
                    _sample(keep, at, terms[1][0], change, clipped, weight)
                )
        self.exact = full_stats is not None
        self.sums = out if self.sums is None else self.sums + out

    def take_tokens(self) -> TokenSample | None:
        """The tokens kept since the last call, of this rank alone: already an unbiased sample of its own tokens, and no
        rank waits for another. None where there are none."""
        kept, self._kept = self._kept, []
        return (
            TokenSample(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
            if kept
            else None
        )

    def read(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The window's means per trained token, over all ranks, and a new window. Empty when nothing was added.

        `reduce` sums a tensor over ranks. Keys: clip_low, clip_high, dropped (shares of tokens; dropped:
        clipped already at ratio 1), and for R in E1..E4: R/share,
        and R/change_kept, R/change_clipped (nats per unit step along the policy's gradient, per trained token; clipped:
        what the clip held back). Where the sums are missing the last two are R/own_term_kept and R/own_term_clipped.
        """
        if self.sums is None:
            return {}
        totals = reduce(self.sums).tolist()
        self.sums = None
        tokens = max(totals[0], 1.0)
        what = "change" if self.exact else "own_term"
        means = {
            "clip_low": totals[1] / tokens,
            "clip_high": totals[2] / tokens,
            "dropped": totals[3] / tokens,
        }
        for i, region in enumerate(REGIONS):
            means[f"{region.name}/share"] = totals[4 + i] / tokens
            means[f"{region.name}/{what}_kept"] = totals[8 + i] / tokens
            means[f"{region.name}/{what}_clipped"] = totals[12 + i] / tokens
        return means


def _at(values: Tensor, flat: Tensor) -> Tensor:
    return values.reshape(-1)[flat]


def _systematic(
    n: int, share: float, draw: Tensor | None, device: torch.device
) -> Tensor:
    """Which of n to take: a share of them, at equal distances, from a start that `draw` in [0, 1) sets."""
    k = max(1, math.ceil(share * n))
    if k >= n:
        return torch.arange(n, device=device)
    start = 0.0 if draw is None else float(draw)
    return ((torch.arange(k, device=device) + start) * (n / k)).long().clamp(max=n - 1)


def _sample(
    window: Window,
    at: Tensor,
    advantages: Tensor,
    change: Tensor,
    clipped: Tensor,
    weight: float,
) -> TokenSample:
    """The tokens at flat indices `at`, with their window, on the CPU."""
    like = window.logratio
    logratio, low, high = (
        _at(
            torch.as_tensor(x, dtype=like.dtype, device=like.device).expand_as(like), at
        )
        for x in window
    )
    parts = (
        logratio,
        advantages,
        change,
        torch.full_like(change, weight),
        low,
        high,
        clipped,
    )
    return TokenSample(*(part.cpu() for part in parts))
