"""What objectives share that replace the clipped loss of some tokens: the window that the trainer's loss stands on."""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from entrostat.clip import ClipEvents, clip_events, clip_loss
from entrostat.objectives.base import Objective
from entrostat.strategies.base import RolloutSummary, checked


class Counted(NamedTuple):
    """Remembers how many rollouts were observed."""

    rollouts: int = 0


@dataclasses.dataclass(frozen=True)
class OnClipped(Objective):
    """A term that replaces PPO's clipped loss at some tokens: it has to know its window, so both name one.

    In a script of your own give the trainer the same: epsilon=low, epsilon_high=high, loss type dapo, whose weights the
    term has too, and no strategy beside it. The TRL engine refuses anything else.
    """

    low: float = 0.2
    """Half-width below 1 of the trainer's clip."""
    high: float = 0.2
    """Half-width above 1."""

    def __post_init__(self):
        checked("low", self.low, low=0.0, why="at least 0")
        checked("high", self.high, low=0.0, why="at least 0")

    def init(self) -> Counted:
        return Counted()

    def observe(self, state: Counted, summary: RolloutSummary) -> Counted:
        return Counted(state.rollouts + 1)

    def events(self, logratio: Tensor, advantages: Tensor, mask: Tensor) -> ClipEvents:
        """Trained tokens (b t) whose gradient the clip takes, by side."""
        low, high = clip_events(
            logratio.detach(), advantages, low=self.low, high=self.high
        )
        return ClipEvents(low & mask, high & mask)

    def clipped(self, logratio: Tensor, advantages: Tensor, where: Tensor) -> Tensor:
        """The clipped loss (b t) that the trainer adds at `where`, with its gradient; 0 elsewhere."""
        return torch.where(
            where, clip_loss(logratio, advantages, low=self.low, high=self.high), 0.0
        )


def surrogate(logratio: Tensor, advantages: Tensor, where: Tensor) -> Tensor:
    """-r A at `where` (b t), with its gradient; 0 elsewhere."""
    ratio = torch.where(where, logratio, 0.0).exp()
    return torch.where(where, -ratio * advantages.detach(), 0.0)


def covariance(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """(ln p - mean) (A - mean) of each trained token (b t), means over the micro-batch; -inf elsewhere (2505.22617)."""
    advantages, logprobs = advantages.detach().expand_as(mask), logprobs.detach()
    count = mask.sum().clamp(min=1)
    first, second = (
        x - torch.where(mask, x, 0.0).sum() / count for x in (logprobs, advantages)
    )
    return torch.where(mask, first * second, -torch.inf)
