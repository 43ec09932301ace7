"""Clip-Cov and KL-Cov (arXiv 2505.22617): hold back the tokens whose covariance with the advantage costs entropy.

As released (github.com/PRIME-RL/Entropy-Mechanism-of-RL, and verl's core_algos.py: compute_policy_loss_clip_cov,
compute_policy_loss_kl_cov), with Cov = (ln p - mean)(A - mean) over the trained tokens of a micro-batch:

    Clip-Cov: PPO's clipped loss; of the unclipped tokens with lower < Cov < upper, max(int(ratio n), 1) drawn at random
              have no loss
    KL-Cov:   -r A, with no clip at all; the max(int(ratio n), 1) tokens of largest Cov have coef |ln r| added

n is the micro-batch's number of trained tokens, so at a few hundred tokens the released ratio of 2e-4 still takes one.
Clip-Cov's scripts run it on a window of 1 and 1, ratios in [0, 2]. KL-Cov's ratio is 2e-4 for 32B models, 2e-3 for 7B.

The release draws from torch's global generator; ours is seeded by the rollout and the micro-batch's own numbers: a
resumed run draws the same, and the sampler is not moved.
"""

import dataclasses
import struct

import torch
from torch import Tensor

from entrostat.entropy import TokenStats
from entrostat.objectives.clipped import Counted, OnClipped, covariance, surrogate
from entrostat.strategies.base import checked


@dataclasses.dataclass(frozen=True)
class ClipCov(OnClipped):
    """Clip-Cov: a random few of the tokens with a high covariance lose their gradient."""

    low: float = 1.0
    """Half-width below 1 of the trainer's clip; 1: none."""
    high: float = 1.0
    """Half-width above 1."""
    ratio: float = 2e-4
    """Share of the tokens that are taken."""
    lower: float = 1.0
    """Tokens over this covariance may be taken."""
    upper: float = 5.0
    """Tokens over this covariance may not."""

    def __post_init__(self):
        super().__post_init__()
        checked("ratio", self.ratio, low=1e-9, high=1.0, why="in (0, 1]")
        checked(
            "upper", self.upper, low=self.lower, why=f"at least lower, {self.lower}"
        )

    def correction(
        self,
        state: Counted,
        *,
        logprobs: Tensor,
        logratio: Tensor,
        advantages: Tensor,
        old: TokenStats,
        entropy: Tensor,
        mask: Tensor,
    ) -> Tensor:
        events = self.events(logratio, advantages, mask)
        found = covariance(logprobs, advantages, mask)
        candidates = (
            (found > self.lower) & (found < self.upper) & ~(events.low | events.high)
        )
        taken = _some(
            candidates,
            max(int(self.ratio * int(mask.sum())), 1),
            _seed(state.rollouts, found[mask]),
        )
        return -self.clipped(logratio, advantages, taken)


@dataclasses.dataclass(frozen=True)
class KlCov(OnClipped):
    """KL-Cov: the tokens with the highest covariance are held near the old policy; nothing is clipped."""

    ratio: float = 2e-4
    """Share of the tokens that are held."""
    coef: float = 1.0
    """Weight of |ln r| there."""

    def __post_init__(self):
        super().__post_init__()
        checked("ratio", self.ratio, low=1e-9, high=1.0, why="in (0, 1]")
        checked("coef", self.coef, low=0.0, high=1e6, why="at least 0")

    def correction(
        self,
        state: Counted,
        *,
        logprobs: Tensor,
        logratio: Tensor,
        advantages: Tensor,
        old: TokenStats,
        entropy: Tensor,
        mask: Tensor,
    ) -> Tensor:
        events = self.events(logratio, advantages, mask)
        clipped = events.low | events.high
        unclip = surrogate(logratio, advantages, clipped) - self.clipped(
            logratio, advantages, clipped
        )
        n = int(mask.sum())
        held = torch.zeros_like(mask)
        if n:
            most = (
                covariance(logprobs, advantages, mask)
                .flatten()
                .topk(max(int(self.ratio * n), 1))
                .indices
            )
            held.view(-1)[most] = True
        return unclip + self.coef * torch.where(held, logratio, 0.0).abs()


def _seed(rollouts: int, values: Tensor) -> int:
    """Of a generator: the rollout, and the bits of the micro-batch's own sum."""
    (bits,) = struct.unpack("<q", struct.pack("<d", float(values.double().sum())))
    return (bits ^ (rollouts * 0x9E3779B97F4A7C15)) & (2**63 - 1)


def _some(candidates: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the candidates (b t), drawn at random; all where there are no more."""
    where = candidates.flatten().nonzero().squeeze(-1)
    order = torch.randperm(len(where), generator=torch.Generator().manual_seed(seed))[
        :count
    ]
    taken = torch.zeros_like(candidates)
    taken.view(-1)[where[order.to(where.device)]] = True
    return taken
