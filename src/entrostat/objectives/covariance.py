"""Clip-Cov and KL-Cov (arXiv 2505.22617): hold back the tokens whose covariance with the
advantage costs entropy.

As released (github.com/PRIME-RL/Entropy-Mechanism-of-RL, and verl's core_algos.py:
compute_policy_loss_clip_cov, compute_policy_loss_kl_cov), with
Cov = (ln p - mean)(A - mean) over the trained tokens of a micro-batch:

    Clip-Cov: PPO's clipped loss; of the unclipped tokens with lower < Cov < upper,
              max(int(ratio n), 1) drawn at random have no loss
    KL-Cov:   -r A, with no clip at all; the max(int(ratio n), 1) tokens of largest Cov
              have coef |ln r| added

n is the micro-batch's number of trained tokens, so at a few hundred tokens the released
ratio of 2e-4 still takes one. Clip-Cov's scripts run it on a window of 1 and 1, ratios
in [0, 2]. KL-Cov's ratio is 2e-4 for 32B models, 2e-3 for 7B.

The release draws from torch's global generator. Ours is seeded by the rollout and the
micro-batch's own numbers: a resumed run draws the same, and the sampler is not moved.
"""

import dataclasses
import struct

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.clipped import Counted, OnClipped, covariance, surrogate
from entrostat.strategies.base import checked, not_negative


@dataclasses.dataclass(frozen=True)
class ClipCov(OnClipped):
    """Clip-Cov: a random few of the tokens with a high covariance lose their
    gradient."""

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

    def correction(self, state: Counted, inputs: LossInputs) -> Tensor:
        events = self.events(inputs)
        cov = covariance(inputs)
        in_range = (cov > self.lower) & (cov < self.upper)
        candidates = in_range & ~(events.low | events.high)
        count = _share(self.ratio, inputs.mask)
        seed = _seed(state.rollouts, cov[inputs.mask])
        taken = _drawn(candidates, count, seed)
        # takes away the loss that the trainer adds there
        return -self.clipped(inputs, taken)


@dataclasses.dataclass(frozen=True)
class KlCov(OnClipped):
    """KL-Cov: the tokens with the highest covariance are held near the old policy;
    nothing is clipped."""

    ratio: float = 2e-4
    """Share of the tokens that are held."""
    coef: float = 1.0
    """Weight of |ln r| there."""

    def __post_init__(self):
        super().__post_init__()
        checked("ratio", self.ratio, low=1e-9, high=1.0, why="in (0, 1]")
        not_negative(self, "coef", most=1e6)

    def correction(self, state: Counted, inputs: LossInputs) -> Tensor:
        events = self.events(inputs)
        clipped = events.low | events.high
        unclip = surrogate(inputs, clipped) - self.clipped(inputs, clipped)
        held = torch.zeros_like(inputs.mask)
        if inputs.mask.any():
            count = _share(self.ratio, inputs.mask)
            most = covariance(inputs).flatten().topk(count).indices
            held.view(-1)[most] = True
        return unclip + self.coef * torch.where(held, inputs.logratio, 0.0).abs()


def _share(ratio: float, mask: Tensor) -> int:
    """A share of the trained tokens, rounded down, and at least one."""
    return max(int(ratio * int(mask.sum())), 1)


def _seed(rollouts: int, values: Tensor) -> int:
    """Of a generator: the rollout, and the bits of the micro-batch's own sum."""
    total = float(values.double().sum())
    (bits,) = struct.unpack("<q", struct.pack("<d", total))
    # 2^64 over the golden ratio: spreads the small numbers of rollouts over all bits
    return (bits ^ (rollouts * 0x9E3779B97F4A7C15)) & (2**63 - 1)


def _drawn(candidates: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the candidates (b t), drawn at random; all where there are no more."""
    where = candidates.flatten().nonzero().squeeze(-1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(where), generator=generator)[:count]
    taken = torch.zeros_like(candidates)
    taken.view(-1)[where[order.to(where.device)]] = True
    return taken
