"""What an objective is: a frozen object that adds a term to the trainer's own loss, for losses that TRL lacks.

It sees numbers and tensors only, like a strategy, and runs beside one or alone:

    state = objective.init()
    for each rollout:
        state = objective.observe(state, summary)       # once, before the rollout's updates
        for each micro-batch:
            loss += sum over trained tokens of objective.correction(state, ...) / trained tokens of the update

`observe` and `correction` are pure, and a state is a NamedTuple of finite floats and ints: a checkpoint is JSON.
A loss that replaces the trainer's own one for some tokens is the difference of the two there.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.entropy import TokenStats
from entrostat.strategies import RolloutSummary


@dataclasses.dataclass(frozen=True)
class Objective(ABC):
    """Base of all objectives. Subclasses are frozen dataclasses, and final: their fields are their options."""

    @abstractmethod
    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and ints."""

    @abstractmethod
    def observe(self, state: Any, summary: RolloutSummary) -> Any:
        """The state for this rollout's updates. Called once a rollout, before them."""

    @abstractmethod
    def correction(
        self,
        state: Any,
        *,
        logprobs: Float[Tensor, "b t"],
        logratio: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b #t"],
        old: TokenStats,
        entropy: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
    ) -> Float[Tensor, "b t"]:
        """The loss to add, per token of one micro-batch, finite where masked; its gradient goes through the policy.

        Args:
            logprobs: of the current policy, nats, with gradient.
            logratio: logprobs less those of the old policy, with gradient.
            advantages: per sequence or per token.
            old: the policy at the start of the rollout's updates; a field that the engine can't give is None.
            entropy: of the current policy at each token, nats, with gradient.
            mask: trained tokens; the others may hold anything.
        """

    def signals(self, state: Any) -> dict[str, float]:
        """What is worth logging of a state. `target`: the entropy aimed at under this rollout's policy, in nats."""
        return {}
