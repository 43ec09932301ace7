"""What an engine tells a strategy of a rollout, from per-sequence sums over its trained
tokens."""

import math

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from entrostat.entropy import TokenStats, bracket, excess_surprisal
from entrostat.importance import ratio_of_sums
from entrostat.strategies import RolloutSummary


def sequence_sums(
    old: TokenStats,
    advantages: Float[Tensor, "b #t"],
    mask: Bool[Tensor, "b t"],
) -> Float[Tensor, "b columns"]:
    """Per sequence, over its trained tokens: their number, entropy, |ln p + H|, how many
    have an advantage, and |Q_a - E[Q]| where `old` has the sums for it; in nats.

    Masked tokens may hold anything.
    """
    assert old.entropy is not None
    columns = [
        torch.ones_like(old.entropy),
        old.entropy,
        excess_surprisal(old).abs(),
        (advantages != 0).expand_as(mask),
    ]
    if old.sum_p2 is not None:
        columns.append(bracket(old).abs())
    # where, not a product: a masked token may hold NaN
    sums = [torch.where(mask, column, 0).sum(1) for column in columns]
    return torch.stack(sums, dim=1).float()


def summarise(
    sums: Float[Tensor, "b columns"],
    *,
    group: int,
    progress: float,
    updates: int,
    ceiling: float,
    ages: tuple[float, ...] | None = None,
) -> RolloutSummary:
    """The rollout's token-weighted means, from `sequence_sums` of all ranks; NaN where
    no token was trained on.

    Args:
        group: samples of one prompt, which stand together in `sums`.
        progress, updates, ceiling, ages: as in RolloutSummary.

    Raises:
        ValueError: the entropy of a trained token is not finite.
    """
    sums = sums.cpu().double()
    tokens, *totals = sums.sum(0).tolist()
    if tokens and not math.isfinite(totals[0]):
        raise ValueError(
            f"the rollout's entropy is {totals[0]}: the model gives logits of NaN, so "
            "resume from an earlier checkpoint with a lower learning_rate; or of -inf "
            "under a sharded LM head, so replace -inf in it by -1e4"
        )
    # NaN: the engine can measure, and there was nothing to
    means = [total / tokens if tokens else math.nan for total in totals]
    entropy, excess, active, *rest = means
    return RolloutSummary(
        progress=progress,
        entropy=entropy,
        bracket=rest[0] if rest else None,
        excess_surprisal=excess,
        entropy_error=_standard_error(sums[:, 0], sums[:, 1], group),
        active=active,
        updates=updates,
        ceiling=ceiling,
        ages=ages,
    )


def shares_by_age(
    ages: Int[Tensor, " b"], tokens: Real[Tensor, " b"]
) -> tuple[float, ...]:
    """Item k is the share of the trained tokens that is of age k; () where none is
    trained on.

    Args:
        ages: of each sequence, or part of one, at least 0.
        tokens: how many of its tokens are trained on.
    """
    by_age = torch.bincount(ages, weights=tokens.double())
    trained = by_age.nonzero()
    if not len(trained):
        return ()
    oldest = int(trained.max())
    return tuple((by_age / by_age.sum())[: oldest + 1].tolist())


def _standard_error(tokens: Tensor, entropy: Tensor, group: int) -> float | None:
    """Of the token-weighted mean entropy, from per-sequence sums: a ratio estimator over
    groups of one prompt.

    Tokens of a prompt's samples are alike, so groups are what varies independently
    (Cochran, Sampling Techniques, ch. 6 and 9). None with fewer than two groups that
    have tokens.
    """
    if len(tokens) % group == 0:
        tokens = tokens.view(-1, group).sum(1)
        entropy = entropy.view(-1, group).sum(1)
    return ratio_of_sums(entropy, tokens).error
