"""Group-relative advantages: the reward of a completion against the other completions of its prompt.

Notation: b completions in all, in groups of g that answer the same prompt and lie next to each other.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

STD_EPSILON = 1e-4
"""Added to the standard deviation of a group, as in TRL."""


def group_advantages(
    rewards: Float[Tensor, " b"], group_size: int, *, scale: Literal["group", "none"] = "group"
) -> Float[Tensor, " b"]:
    """Advantage of each completion within its group of g = group_size.

    scale, where the sources differ:
        "group": (R - mean) / (std + 1e-4), std with Bessel's correction. GRPO (arXiv 2402.03300, section 4.1.2) has no
            epsilon and leaves the correction open; these two are TRL's choice, taken so that the engines agree.
        "none": R - mean. Dr. GRPO (arXiv 2503.20783) and Park et al. (arXiv 2509.26114).

    A group whose rewards are all equal gets exactly zero, where rounding of the mean would leave a residue of up to
    1e-3 after the division. A group of one is such a group.

    Args:
        rewards: one per completion, finite.

    Raises:
        ValueError: a reward that is NaN or infinite, b no multiple of g, g < 1, or an unknown scale.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.1, 0.1]), 2, scale="none")
    tensor([ 0.5000, -0.5000,  0.0000,  0.0000])
    """
    if group_size < 1 or rewards.numel() % group_size:
        raise ValueError(f"group_size must divide the {rewards.numel()} rewards, got {group_size}")
    if scale not in ("group", "none"):
        raise ValueError(f"scale must be 'group' or 'none', got {scale!r}")
    if not rewards.isfinite().all():
        at = int((~rewards.isfinite()).nonzero()[0])
        raise ValueError(f"rewards must be finite, got {rewards[at].item()} at {at}; fix the reward function")
    grouped = rewards.view(-1, group_size)
    equal = (grouped == grouped[:, :1]).all(-1, keepdim=True)
    centred = torch.where(equal, 0.0, grouped - grouped.mean(-1, keepdim=True))
    if scale == "group" and group_size > 1:
        centred = centred / (grouped.std(-1, keepdim=True) + STD_EPSILON)
    return centred.view(-1)
