"""What objectives share that replace the clipped loss of some tokens: the window that the
trainer's loss stands on."""

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor

from entrostat.clip import ClipEvents, clip_events, clip_loss
from entrostat.objectives.base import LossInputs, Objective
from entrostat.strategies.base import RolloutSummary, not_negative


class Counted(NamedTuple):
    """Remembers how many rollouts were observed."""

    rollouts: int = 0


@dataclasses.dataclass(frozen=True)
class OnClipped(Objective):
    """A term that replaces PPO's clipped loss at some tokens: it has to know its window,
    so both name one.

    In a script of your own give the trainer the same: epsilon=low, epsilon_high=high,
    loss type dapo, whose weights the term has too, and no strategy beside it. The TRL
    engine refuses anything else.
    """

    low: float = 0.2
    """Half-width below 1 of the trainer's clip."""
    high: float = 0.2
    """Half-width above 1."""

    def __post_init__(self):
        not_negative(self, "low", "high")

    def init(self) -> Any:
        return Counted()

    def observe(self, state: Any, summary: RolloutSummary) -> Any:
        return Counted(state.rollouts + 1)

    def events(self, inputs: LossInputs) -> ClipEvents:
        """Trained tokens (b t) whose gradient the clip takes, by side."""
        low, high = clip_events(
            inputs.logratio.detach(), inputs.advantages, low=self.low, high=self.high
        )
        return ClipEvents(low & inputs.mask, high & inputs.mask)

    def clipped(self, inputs: LossInputs, where: Tensor) -> Tensor:
        """The clipped loss (b t) that the trainer adds at `where`, with its gradient; 0
        elsewhere."""
        loss = clip_loss(
            inputs.logratio, inputs.advantages, low=self.low, high=self.high
        )
        return torch.where(where, loss, 0.0)


def surrogate(inputs: LossInputs, where: Tensor) -> Tensor:
    """-r A at `where` (b t), with its gradient; 0 elsewhere."""
    ratio = torch.where(where, inputs.logratio, 0.0).exp()
    return torch.where(where, -ratio * inputs.advantages.detach(), 0.0)


def covariance(inputs: LossInputs) -> Tensor:
    """(ln p - mean) (A - mean) of each trained token (b t), means over the micro-batch;
    -inf elsewhere (2505.22617)."""
    mask = inputs.mask
    logprobs = _centred(inputs.logprobs.detach(), mask)
    advantages = _centred(inputs.advantages.detach().expand_as(mask), mask)
    return torch.where(mask, logprobs * advantages, -torch.inf)


def _centred(values: Tensor, mask: Tensor) -> Tensor:
    """Values less their mean over the trained tokens."""
    count = mask.sum().clamp(min=1)
    return values - torch.where(mask, values, 0.0).sum() / count
