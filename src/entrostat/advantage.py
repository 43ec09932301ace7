"""Advantages: of a completion against the others of its prompt, or of each token against a
critic's values (GAE).

Notation: b completions of t tokens; groups of g completions answer the same prompt and
lie next to each other.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STD_EPSILON = 1e-4
"""Added to the standard deviation of a group, as in TRL."""
WHITEN_EPSILON = 1e-8
"""Added to the variance of a rollout's advantages."""


def group_advantages(
    rewards: Float[Tensor, " b"],
    group_size: int,
    *,
    scale: Literal["group", "none"] = "group",
) -> Float[Tensor, " b"]:
    """Advantage of each completion within its group of g = group_size.

    scale, where the sources differ:
        "group": (R - mean) / (std + 1e-4), std with Bessel's correction. GRPO (arXiv
            2402.03300, section 4.1.2) has no epsilon and leaves the correction open;
            these two are TRL's choice, taken so that the engines agree.
        "none": R - mean. Dr. GRPO (arXiv 2503.20783) and Park et al. (arXiv 2509.26114).

    A group whose rewards are all equal gets exactly zero, where rounding of the mean
    would leave a residue of up to 1e-3 after the division. A group of one is such a
    group.

    Args:
        rewards: one per completion, finite.

    Raises:
        ValueError: a reward that is NaN or infinite, b no multiple of g, g < 1, or an
            unknown scale.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.1, 0.1]), 2, scale="none")
    tensor([ 0.5000, -0.5000,  0.0000,  0.0000])
    """
    if group_size < 1 or rewards.numel() % group_size:
        raise ValueError(
            f"group_size must divide the {rewards.numel()} rewards, got {group_size}"
        )
    if scale not in ("group", "none"):
        raise ValueError(f"scale must be 'group' or 'none', got {scale!r}")
    if not rewards.isfinite().all():
        at = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(
            f"rewards must be finite, got {rewards[at].item()} at {at}; fix the reward "
            "function"
        )
    grouped = rewards.view(-1, group_size)
    equal = (grouped == grouped[:, :1]).all(-1, keepdim=True)
    centred = torch.where(equal, 0.0, grouped - grouped.mean(-1, keepdim=True))
    if scale == "group" and group_size > 1:
        centred = centred / (grouped.std(-1, keepdim=True) + STD_EPSILON)
    return centred.view(-1)


class Gae(NamedTuple):
    """What `gae` gives, (b t) each, 0 where nothing is trained."""

    advantages: Float[Tensor, "b t"]
    returns: Float[Tensor, "b t"]
    """Advantages plus values: what the critic is fitted to."""


def gae(
    rewards: Float[Tensor, " b"],
    values: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> Gae:
    """Generalised advantage estimation over a completion whose reward comes with its last
    trained token.

    arXiv 1506.02438, equation 16: A_t = sum over l of (gamma lam)^l delta_(t+l),
    delta_t = r_t + gamma V_(t+1) - V_t, t counting trained tokens only: what stands
    between two of them, a tool's answer say, is passed over, and after the last there is
    nothing (V = 0). At lam = 1 and gamma = 1 that is the reward less the value, at
    lam = 0 it is delta.

    Args:
        rewards: one per completion; that of a completion without a trained token may be
            NaN.
        values: V of the state before each token.
        mask: trained tokens; the others may hold anything, NaN included.

    Raises:
        ValueError: gamma or lam outside [0, 1].

    >>> values, mask = torch.tensor([[0.5, 0.25]]), torch.tensor([[True, True]])
    >>> gae(torch.tensor([1.0]), values, mask, lam=0.0).advantages
    tensor([[-0.2500,  0.7500]])
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
    values = torch.where(mask, values, 0.0)
    advantages = torch.zeros_like(values)
    # from the last token to the first: what comes after a trained token is worth `ahead`,
    # gamma V of the next one; after the last, its reward, which is not discounted
    ahead = rewards.to(values.dtype)
    later = torch.zeros_like(values[:, 0])  # the next trained token's advantage
    for t in reversed(range(values.size(1))):
        trained, value = mask[:, t], values[:, t]
        later = torch.where(trained, ahead - value + gamma * lam * later, later)
        ahead = torch.where(trained, gamma * value, ahead)
        advantages[:, t] = torch.where(trained, later, 0.0)
    return Gae(advantages, advantages + values)


def whiten(
    advantages: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    scale: bool = True,
    reduce: Callable[[Tensor], Tensor] = lambda x: x,
) -> Float[Tensor, "b t"]:
    """Advantages less their mean over trained tokens, and with `scale` over their standard
    deviation; 0 where masked.

    Each trained token weighs the same, whichever completion or rank it is of.
    (A - mean) / sqrt(variance + 1e-8) with Bessel's correction, as in TRL's former PPO
    trainer and verl; PPO's first code has neither (openai/baselines, ppo2: population
    deviation, per minibatch). In float64, so that advantages that are all equal come out
    as 0.

    Args:
        mask: trained tokens; the others may hold anything, NaN included.
        reduce: sums a tensor over ranks.
    """
    wide = torch.where(mask, advantages, 0.0).double()
    n, total = reduce(torch.stack([mask.sum().double(), wide.sum()]))
    centred = torch.where(mask, wide - total / n.clamp(min=1.0), 0.0)
    if scale:
        variance = reduce(centred.square().sum()) / (n - 1).clamp(min=1.0)
        centred = centred / (variance + WHITEN_EPSILON).sqrt()
    return centred.to(advantages.dtype)
