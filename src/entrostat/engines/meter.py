"""Sums over the trained tokens of a logging window: clip shares and, per region, token shares and entropy change.

Everything is a sum over tokens until the window is read, so that micro-batches and ranks of any size weigh by tokens.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipEvents
from entrostat.entropy import Region, TokenStats, entropy_change, entropy_change_own_term, regions

REGIONS = (Region.E1, Region.E2, Region.E3, Region.E4)
# tokens, clipped low, clipped high, dropped, then per region: tokens, change of kept tokens, change of clipped tokens
_SIZE = 4 + 3 * len(REGIONS)

SumsOf = Callable[[Tensor], TokenStats]


class RegionMeter:
    """Accumulates one window. `exact` says whether the change is -A r [Q_a - E[Q]] or the token's own term -A r Q_a."""

    def __init__(self):
        self.sums: Float[Tensor, " n"] | None = None
        self.exact = True

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
        """
        assert stats.entropy is not None
        flat = mask.reshape(-1).nonzero().squeeze(-1)
        n = flat.numel()
        advantages = advantages.expand_as(logratio)
        pick = lambda x, at: x.reshape(-1)[at]  # noqa: E731
        region = regions(stats.logprobs, stats.entropy, advantages).reshape(-1)[flat]
        low, high = pick(events.low, flat), pick(events.high, flat)
        out = logratio.new_zeros(_SIZE, dtype=torch.float32)
        out[0] = n
        out[1], out[2] = low.sum(), high.sum()
        out[3] = 0 if dropped is None else pick(dropped, flat).sum()
        out[4:8] = torch.stack([(region == r).sum() for r in REGIONS])
        if n:
            k = max(1, math.ceil(share * n)) if full_stats is not None else n
            chosen = torch.arange(n, device=flat.device)
            if k < n:
                start = 0.0 if sample is None else float(sample)
                chosen = ((torch.arange(k, device=flat.device) + start) * (n / k)).long().clamp(max=n - 1)
            at = flat[chosen]
            terms = (pick(logratio, at)[None], pick(advantages, at)[None])
            if full_stats is not None:
                change = entropy_change(full_stats(at), *terms)[0]
            else:
                own = TokenStats(pick(stats.logprobs, at)[None], pick(stats.entropy, at)[None])
                change = entropy_change_own_term(own, *terms)[0]
            clipped = (low | high)[chosen]
            key = (region[chosen] - int(Region.E1)) + 4 * clipped
            keep = region[chosen] != Region.NONE
            out[8:].index_add_(0, key[keep], change[keep].float() * (n / k))
        self.exact = full_stats is not None
        self.sums = out if self.sums is None else self.sums + out

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
        means = {"clip_low": totals[1] / tokens, "clip_high": totals[2] / tokens, "dropped": totals[3] / tokens}
        for i, region in enumerate(REGIONS):
            means[f"{region.name}/share"] = totals[4 + i] / tokens
            means[f"{region.name}/{what}_kept"] = totals[8 + i] / tokens
            means[f"{region.name}/{what}_clipped"] = totals[12 + i] / tokens
        return means
