"""What the driver tells a strategy of a training step, from the step's tokens of all
ranks."""

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
    sampler_logprobs: Float[Tensor, "b t"] | None = None
    """None where the sampler's are not kept, or where the old ones are the sampler's."""

    def groups(self) -> Int[Tensor, " b"]:
        """The number of a completion's prompt within the step."""
        numbers: dict[str, int] = {}
        for uid in self.uids:
            numbers.setdefault(uid, len(numbers))
        return torch.tensor([numbers[uid] for uid in self.uids])

    def labels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Number (under 0: padding), prompt's number and reward of each completion, for
        a dump."""
        numbers = torch.arange(len(self.uids))
        sample = torch.where(torch.tensor(self.is_padding), -1, numbers)
        return sample, self.groups(), self.rewards


def observed(
    batch: Batch,
    *,
    progress: float,
    updates: int,
    ceiling: float,
    ages: tuple[float, ...] | None = None,
) -> RolloutSummary:
    """Token-weighted means of a step, the standard error over prompts included.

    Without the old policy's entropy: the mean of -ln p over the sampled tokens, which
    has the entropy's mean because they were drawn from that very policy; then there is
    no excess surprisal.
    """
    is_estimate = batch.old_entropy is None
    entropy = -batch.old_logprobs if is_estimate else batch.old_entropy
    old = TokenStats(batch.old_logprobs, entropy)
    sums = sequence_sums(old, batch.advantages, batch.mask).double()
    # completions of a prompt may stand anywhere in the batch: a row per prompt first
    groups = batch.groups()
    rows = torch.zeros(int(groups.max()) + 1, sums.size(1), dtype=torch.float64)
    rows.index_add_(0, groups, sums)
    summary = summarise(
        rows, group=1, progress=progress, updates=updates, ceiling=ceiling, ages=ages
    )
    return summary._replace(excess_surprisal=None) if is_estimate else summary


def sampler_gap(batch: Batch) -> float | None:
    """Mean |ln(old / sampler)| over the trained tokens: staleness and the mismatch of two
    engines together. None without the sampler's log-probabilities."""
    if batch.sampler_logprobs is None or not batch.mask.any():
        return None
    gap = (batch.old_logprobs - batch.sampler_logprobs).abs()
    return gap[batch.mask].double().mean().item()
