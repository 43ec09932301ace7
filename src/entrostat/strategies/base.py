"""What a strategy is: a frozen object that turns what a rollout looked like into clip bounds for its tokens.

The same object runs in every engine, so it sees numbers and tensors only, never a trainer:

    state = strategy.init()
    for each rollout:
        state = strategy.observe(state, summary)        # once, before the rollout's updates
        low, high = strategy.bounds(state, old)         # per token, from the policy that sampled the rollout

`observe` and `bounds` are pure, and a state is a NamedTuple of finite floats and ints, so that a checkpoint is JSON.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats


class RolloutSummary(NamedTuple):
    """What a strategy is told of a rollout, under the policy that sampled it.

    All but `progress` are means over the trained tokens of all ranks, each token counting the same.
    """

    progress: float
    """Rollouts done over rollouts in all, in [0, 1)."""
    entropy: float | None = None
    """Mean token entropy H of the sampler, in nats."""
    bracket: float | None = None
    """Mean |Q_a - E[Q]|, the size of a token's first-order effect on entropy."""
    excess_surprisal: float | None = None
    """Mean |ln p_a + H|: how far a token's surprisal lies from the mean surprisal of its state."""
    entropy_error: float | None = None
    """Standard error of `entropy` as an estimate for the prompts' distribution, in nats, by groups of one prompt."""
    active: float | None = None
    """Share of the trained tokens whose advantage is not zero: with 0 the rollout's updates move nothing."""
    updates: int | None = None
    """Optimizer updates on this rollout."""
    ceiling: float | None = None
    """The largest entropy there can be, ln(vocabulary), in nats."""


class NoState(NamedTuple):
    """The state of a strategy that remembers nothing."""


@runtime_checkable
class Stateful(Protocol):
    """What has a state that a checkpoint keeps: a strategy, an objective."""

    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and ints."""
        ...


@dataclasses.dataclass(frozen=True)
class Strategy(ABC):
    """Base of all strategies. Subclasses are frozen dataclasses, and final: their fields are their options."""

    @property
    def acts_on_fresh(self) -> bool:
        """Whether the bounds can move a token whose ratio is 1, so that one update a rollout is enough."""
        return False

    @property
    def needs_sums(self) -> bool:
        """Whether `bounds` needs sum_p2 and sum_p2_logp of the old policy, and `observe` the bracket."""
        return False

    @property
    def highest(self) -> float:
        """The half-width above 1 that `bounds` never goes over, in any state; inf where nothing is known of it."""
        return math.inf

    @property
    @abstractmethod
    def per_token(self) -> bool:
        """Whether the bounds differ from token to token; such a strategy needs token-level ratios."""

    @abstractmethod
    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and ints."""

    @abstractmethod
    def observe(self, state: Any, summary: RolloutSummary) -> Any:
        """The state for this rollout's updates. Called once a rollout, before them."""

    @abstractmethod
    def bounds(self, state: Any, old: TokenStats) -> ClipBounds:
        """Half-widths (b t) of the clip window around ratio 1, finite or inf, without gradient.

        `old` is the policy at the start of the rollout's updates; a field that the engine can't give is None.
        Raises ValueError when a field that this strategy needs is None.
        """

    def signals(self, state: Any) -> dict[str, float]:
        """What is worth logging of a state. `target`: the entropy aimed at under this rollout's policy, in nats."""
        return {}


def required(value: float | None, owner: object, field: str) -> float:
    """A field of the summary that `owner` cannot work without; NaN where nothing was measured. ValueError on None."""
    if value is None:
        raise ValueError(
            f"{type(owner).__name__} needs the rollout's mean {field}, got {value}: in TRL use "
            "EntropyControlGRPOTrainer, which measures it; in verl set trainer.v1.trainer_mode=entrostat"
        )
    return value


def full(old: TokenStats, value: float) -> Tensor:
    """`value` for every token of `old`, float32 (b t)."""
    return torch.full_like(
        old.logprobs, value, dtype=torch.float32, requires_grad=False
    )


def probability(old: TokenStats) -> Tensor:
    """The old policy's probability of each token, float32 (b t): a bound passes no gradient on."""
    return old.logprobs.detach().float().exp()


def checked(
    name: str, value: float, *, low: float = -math.inf, high: float = math.inf, why: str
) -> None:
    """Raises ValueError unless low <= value <= high (NaN never is)."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be {why}, got {value}")


def state_to_json(state: Any) -> dict[str, float | int]:
    """A state as a JSON object. Python's float repr round-trips, so nothing is lost."""
    return dict(state._asdict())


def state_from_json(owner: Stateful, fields: Any) -> Any:
    """The state of a strategy, or of an objective, that `state_to_json` wrote.

    ValueError on a field that is missing, unknown, of another type or not finite.
    """
    like = owner.init()
    name = type(owner).__name__
    if not isinstance(fields, dict) or set(fields) != set(like._fields):
        got = sorted(fields) if isinstance(fields, dict) else fields
        raise ValueError(
            f"the saved state is not one of {name}: expected fields {sorted(like._fields)}, got {got}"
        )
    for key, value in fields.items():
        # bool is an int in Python, and a JSON true is no count
        allowed = (int,) if isinstance(getattr(like, key), int) else (int, float)
        if (
            isinstance(value, bool)
            or not isinstance(value, allowed)
            or not math.isfinite(value)
        ):
            raise ValueError(f"the saved state of {name} has a bad {key}: {value!r}")
    return type(like)(**{k: type(getattr(like, k))(v) for k, v in fields.items()})
