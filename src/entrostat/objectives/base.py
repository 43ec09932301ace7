"""What an objective is: a frozen object that adds a term to the trainer's own loss, for
losses that TRL lacks.

It sees numbers and tensors only, like a strategy, and runs beside one or alone:

    state = objective.init()
    for each rollout:
        # once, before the rollout's updates
        state = objective.observe(state, summary)
        for each micro-batch:
            term = objective.correction(state, inputs)
            loss += sum of term over trained tokens / trained tokens of the update

`observe` and `correction` are pure. A state is a NamedTuple of finite floats and ints,
so that a checkpoint is JSON. A loss that replaces the trainer's own one for some tokens
is the difference of the two there.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.entropy import TokenStats
from entrostat.strategies.base import Reads, RolloutSummary


class LossInputs(NamedTuple):
    """One micro-batch as a loss sees it."""

    logprobs: Float[Tensor, "b t"]
    """Of the current policy, nats, with gradient."""
    logratio: Float[Tensor, "b t"]
    """`logprobs` less those of the old policy, with gradient."""
    advantages: Float[Tensor, "b #t"]
    """Per sequence or per token."""
    old: TokenStats
    """The policy at the start of the rollout's updates; a field that the engine cannot
    give is None."""
    entropy: Float[Tensor, "b t"]
    """Of the current policy at each token, nats, with gradient."""
    mask: Bool[Tensor, "b t"]
    """Trained tokens; the others may hold anything."""


@dataclasses.dataclass(frozen=True)
class Objective(ABC):
    """Base of all objectives. Subclasses are frozen dataclasses, and final: their
    fields are their options."""

    @property
    def reads(self) -> Reads:
        """What `observe` and `correction` need to know of the old policy beyond
        log-probabilities."""
        return Reads.LOGPROBS

    @abstractmethod
    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and
        ints."""

    @abstractmethod
    def observe(self, state: Any, summary: RolloutSummary) -> Any:
        """The state for this rollout's updates. Called once per rollout, before
        them."""

    @abstractmethod
    def correction(self, state: Any, inputs: LossInputs) -> Float[Tensor, "b t"]:
        """The loss to add, per token of one micro-batch, finite where masked. Its
        gradient goes through the current policy."""

    def signals(self, state: Any) -> dict[str, float]:
        """What is worth logging of a state. `target`: the entropy aimed at under this
        rollout's policy, in nats."""
        return {}
