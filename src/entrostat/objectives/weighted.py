"""What objectives share that only weight PPO's clipped loss, token by token.

A weight w >= 0 on the advantage is a weight on the clipped loss, since the clip looks at
the advantage's sign alone: max(-r w A, -clip(r) w A) = w max(-r A, -clip(r) A). So the
term to add is (w - 1) times the trainer's loss.
"""

import dataclasses
from abc import abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.clipped import OnClipped


@dataclasses.dataclass(frozen=True)
class Weighted(OnClipped):
    """PPO's clipped loss with a weight per token."""

    @abstractmethod
    def weights(self, state: Any, inputs: LossInputs) -> Float[Tensor, "b t"]:
        """w >= 0 of each trained token, without gradient; anything elsewhere."""

    def correction(self, state: Any, inputs: LossInputs) -> Tensor:
        weights = self.weights(state, inputs).masked_fill(~inputs.mask, 1.0)
        return (weights - 1) * self.clipped(inputs, inputs.mask)
