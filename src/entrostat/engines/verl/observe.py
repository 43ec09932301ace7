"""What the driver tells a strategy of a training step, from the step's tokens of all ranks."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrostat.engines.summary import sequence_sums, summarise
from entrostat.entropy import TokenStats
from entrostat.strategies import RolloutSummary


class Batch(NamedTuple):
    """The tokens of a step, (b t), in any order of completions."""

    uids: list[str]
    """Which prompt a completion answers."""
    is_padding: list[bool]
    """Rows that verl added to fill the batch; they have no trained token."""
    mask: Bool[Tensor, "b t"]
    old_logprobs: Float[Tensor, "b t"]
    advantages: Float[Tensor, "b t"]
    old_entropy: Float[Tensor, "b t"] | None
    """None where verl makes no pass over the batch before its updates."""
    rewards: Float[Tensor, " b"]

    def groups(self) -> Int[Tensor, " b"]:
        """The number of a completion's prompt within the step."""
        numbers: dict[str, int] = {}
        return torch.tensor(
            [numbers.setdefault(uid, len(numbers)) for uid in self.uids]
        )

    def labels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Number (under 0: padding), prompt's number and reward of each completion, for a dump."""
        sample = torch.arange(len(self.uids))
        return (
            torch.where(torch.tensor(self.is_padding), -1, sample),
            self.groups(),
            self.rewards,
        )


def observed(
    batch: Batch, *, progress: float, updates: int, ceiling: float
) -> RolloutSummary:
    """Token-weighted means of a step, the standard error over prompts included.

    Without the old policy's entropy: the mean of -ln p over the sampled tokens, which has the entropy's mean because
    they were drawn from that very policy; then there is no excess surprisal.
    """
    estimated = batch.old_entropy is None
    entropy = -batch.old_logprobs if batch.old_entropy is None else batch.old_entropy
    sums = sequence_sums(
        TokenStats(batch.old_logprobs, entropy),
        batch.advantages,
        batch.mask,
        needs_sums=False,
    )
    numbers = batch.groups()
    grouped = torch.zeros(
        int(numbers.max()) + 1, sums.size(1), dtype=torch.float64
    ).index_add_(0, numbers, sums.double())
    summary = summarise(
        grouped,
        needs_sums=False,
        group=1,
        progress=progress,
        updates=updates,
        ceiling=ceiling,
    )
    return summary._replace(excess_surprisal=None) if estimated else summary
