"""W-REINFORCE (arXiv 2506.01347): good answers weigh less than bad ones.

    A > 0:   weight 0.1        A < 0:   weight 1

The paper's loss is REINFORCE with rewards of +1 and -1. Here the weight is on GRPO's
clipped loss, so that methods differ by the weight alone.
"""

import dataclasses

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.clipped import Counted
from entrostat.objectives.weighted import Weighted
from entrostat.strategies.base import not_negative


@dataclasses.dataclass(frozen=True)
class WReinforce(Weighted):
    """W-REINFORCE: tokens of good answers weigh less."""

    weight: float = 0.1
    """Of tokens with a positive advantage."""

    def __post_init__(self):
        super().__post_init__()
        not_negative(self, "weight", most=1e3)

    def weights(self, state: Counted, inputs: LossInputs) -> Tensor:
        ones = torch.ones_like(inputs.logprobs.detach())
        return ones.masked_fill(inputs.advantages.detach() > 0, self.weight)
