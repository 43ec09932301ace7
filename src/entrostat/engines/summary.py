"""What an engine tells a strategy of a rollout, from per-sequence sums over its trained tokens."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.entropy import TokenStats, bracket, excess_surprisal
from entrostat.strategies import RolloutSummary


def sequence_sums(
    old: TokenStats,
    advantages: Float[Tensor, "b #t"],
    mask: Bool[Tensor, "b t"],
    *,
    needs_sums: bool,
) -> Float[Tensor, "b 4"]:
    """Per sequence, over its trained tokens: their number, entropy, size of the tilt, and how many have an advantage.

    The tilt is |Q_a - E[Q]| where `needs_sums`, else |ln p + H|, in nats. Masked tokens may hold anything.
    """
    assert old.entropy is not None
    sizes = bracket(old).abs() if needs_sums else excess_surprisal(old).abs()
    columns = (
        torch.ones_like(old.entropy),
        old.entropy,
        sizes,
        (advantages != 0).expand_as(mask),
    )
    # where, not a product: a masked token may hold NaN
    return torch.stack([torch.where(mask, x, 0).sum(1) for x in columns], dim=1).float()


def summarise(
    sums: Float[Tensor, "b 4"],
    *,
    needs_sums: bool,
    group: int,
    progress: float,
    updates: int,
    ceiling: float,
) -> RolloutSummary:
    """The rollout's token-weighted means, from `sequence_sums` of all ranks; NaN where no token was trained on.

    Args:
        group: samples of one prompt, which stand together in `sums`.
        progress, updates, ceiling: as in RolloutSummary.
    """
    sums = sums.cpu().double()
    tokens, entropy, size, active = sums.sum(0).tolist()
    # nan: the engine can measure, and there was nothing to
    mean = lambda total: total / tokens if tokens else math.nan  # noqa: E731
    return RolloutSummary(
        progress=progress,
        entropy=mean(entropy),
        bracket=mean(size) if needs_sums else None,
        excess_surprisal=None if needs_sums else mean(size),
        entropy_error=_standard_error(sums[:, 0], sums[:, 1], group),
        active=mean(active),
        updates=updates,
        ceiling=ceiling,
    )


def _standard_error(tokens: Tensor, entropy: Tensor, group: int) -> float | None:
    """Of the token-weighted mean entropy, from per-sequence sums: a ratio estimator over groups of one prompt.

    Tokens of a prompt's samples are alike, so groups are what varies independently (Cochran, Sampling Techniques, ch. 6
    and 9). None with fewer than two groups that have tokens.
    """
    if len(tokens) % group == 0:
        tokens, entropy = tokens.view(-1, group).sum(1), entropy.view(-1, group).sum(1)
    m = int((tokens > 0).sum())
    if m < 2:
        return None
    off = entropy - entropy.sum() / tokens.sum() * tokens
    return float((m / (m - 1) * off.square().sum()).sqrt() / tokens.sum())
