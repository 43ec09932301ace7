"""What a strategy is: a frozen object that turns what a rollout looked like into clip
bounds for its tokens.

The same object runs in every engine, so it sees numbers and tensors only, never a
trainer:

    state = strategy.init()
    for each rollout:
        # once, before the rollout's updates
        state = strategy.observe(state, summary)
        # per token, from the policy that sampled the rollout
        low, high = strategy.bounds(state, old)

`observe` and `bounds` are pure. A state is a NamedTuple of finite floats and ints, or
tuples of them, so that a checkpoint is JSON.
"""

import dataclasses
import enum
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.schedule import parse_schedule


class RolloutSummary(NamedTuple):
    """What a strategy is told of a rollout, under the policy that sampled it.

    All but `progress` are means over the trained tokens of all ranks, each token
    counting the same. None: the engine cannot know it. NaN: no token was trained on.
    """

    progress: float
    """Rollouts done over rollouts in all, in [0, 1)."""
    entropy: float | None = None
    """Mean token entropy H of the sampler, in nats."""
    bracket: float | None = None
    """Mean |Q_a - E[Q]|, the size of a token's first-order effect on entropy."""
    excess_surprisal: float | None = None
    """Mean |ln p_a + H|: how far a token's surprisal lies from the mean surprisal of
    its state."""
    entropy_error: float | None = None
    """Standard error of `entropy` as an estimate for the prompts' distribution, in
    nats, by groups of one prompt."""
    active: float | None = None
    """Share of the trained tokens whose advantage is not zero. With 0 the rollout's
    updates move nothing."""
    updates: int | None = None
    """Optimizer updates on this rollout."""
    ceiling: float | None = None
    """The largest entropy there can be, ln(vocabulary), in nats."""
    ages: tuple[float, ...] | None = None
    """Share of the trained tokens by age: item k is of those whose `entropy` is that of
    the policy k rollouts before the one that is updated now. None: all are of age 0."""


class NoState(NamedTuple):
    """The state of a strategy that remembers nothing."""


class Reads(enum.Flag):
    """What a strategy or an objective needs to know of the old policy.

    Every engine knows the log-probabilities of the sampled tokens, the progress of the
    run and the number of updates. What else there is depends on the engine.
    """

    LOGPROBS = 0
    """Nothing but what every engine knows."""
    MEAN_ENTROPY = 1
    """`RolloutSummary.entropy`. It can be estimated from log-probabilities."""
    TOKEN_ENTROPY = 2
    """`TokenStats.entropy` and `RolloutSummary.excess_surprisal`."""
    VOCABULARY_SUMS = 4
    """`TokenStats.entropy`, `sum_p2` and `sum_p2_logp`, and `RolloutSummary.bracket`.
    They cost a forward pass per rollout."""


class Statistic(NamedTuple):
    """One member of `Reads`: where it stands and who gives it."""

    name: str
    in_summary: tuple[str, ...]
    """Fields of RolloutSummary."""
    in_stats: tuple[str, ...]
    """Fields of TokenStats."""
    given_by: str
    """What an error says where it is missing."""


STATISTICS: Mapping[Reads, Statistic] = MappingProxyType(
    {
        Reads.MEAN_ENTROPY: Statistic(
            "the rollout's mean entropy",
            in_summary=("entropy",),
            in_stats=(),
            given_by="in TRL use EntropyControlGRPOTrainer, which measures it; in verl "
            "set trainer.v1.trainer_mode=entrostat; in a loop of your own give it to "
            "the RolloutSummary",
        ),
        Reads.TOKEN_ENTROPY: Statistic(
            "the old policy's entropy at each token",
            in_summary=("excess_surprisal",),
            in_stats=("entropy",),
            given_by="in TRL use EntropyControlGRPOTrainer; in verl set "
            "trainer.v1.trainer_mode=entrostat and "
            "algorithm.rollout_correction.bypass_mode=false; the loss hooks of SkyRL, "
            "slime and prime-rl do not have it",
        ),
        Reads.VOCABULARY_SUMS: Statistic(
            "the old policy's sums over the vocabulary",
            in_summary=("bracket",),
            in_stats=("entropy", "sum_p2", "sum_p2_logp"),
            given_by="in TRL use EntropyControlGRPOTrainer, which takes them for a "
            "strategy whose `reads` has Reads.VOCABULARY_SUMS; verl and the loss hooks "
            "do not have them, so use tilt='surprisal' there",
        ),
    }
)


@runtime_checkable
class Part(Protocol):
    """What a strategy and an objective have in common."""

    @property
    def reads(self) -> Reads:
        """What it needs to know of the old policy."""
        ...

    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and ints, or
        tuples of them."""
        ...


@dataclasses.dataclass(frozen=True)
class Strategy(ABC):
    """Base of all strategies. Subclasses are frozen dataclasses, and final: their
    fields are their options."""

    @property
    def reads(self) -> Reads:
        """What `observe` and `bounds` need beyond log-probabilities. An engine that
        lacks it refuses the strategy before the run."""
        return Reads.LOGPROBS

    @property
    def controls_entropy(self) -> bool:
        """Whether the strategy closes a loop on the measured entropy. An entropy bonus
        beside it would work against it."""
        return False

    @property
    def acts_on_fresh(self) -> bool:
        """Whether the bounds can move a token whose ratio is 1, so that one update per
        rollout is enough."""
        return False

    @property
    def highest(self) -> float:
        """The half-width above 1 that `bounds` never goes over, in any state; inf where
        nothing is known of it."""
        return math.inf

    @property
    def oldest(self) -> int | None:
        """The largest age of a token (RolloutSummary.ages) that `observe` can use; None:
        any."""
        return None

    @property
    @abstractmethod
    def per_token(self) -> bool:
        """Whether the bounds differ from token to token. Such a strategy needs
        token-level ratios."""

    @abstractmethod
    def init(self) -> Any:
        """The state before the first rollout: a NamedTuple of finite floats and ints, or
        tuples of them."""

    @abstractmethod
    def observe(self, state: Any, summary: RolloutSummary) -> Any:
        """The state for this rollout's updates. Called once per rollout, before
        them."""

    @abstractmethod
    def bounds(self, state: Any, old: TokenStats) -> ClipBounds:
        """Half-widths (b t) of the clip window around ratio 1, finite or inf, without
        gradient.

        `old` is the policy at the start of the rollout's updates; a field that the
        engine cannot give is None. Raises ValueError when a field that this strategy
        needs is None.
        """

    def signals(self, state: Any) -> dict[str, float]:
        """What is worth logging of a state. `target`: the entropy aimed at under this
        rollout's policy, in nats."""
        return {}


def require_stats(owner: Part, given: RolloutSummary | TokenStats) -> None:
    """Raises ValueError where `given` lacks a statistic that `owner` reads.

    The error names the statistic and says who gives it.
    """
    for reads in owner.reads:
        statistic = STATISTICS[reads]
        if isinstance(given, RolloutSummary):
            fields, whose = statistic.in_summary, "the rollout's mean"
        else:
            fields, whose = statistic.in_stats, "the old policy's"
        for field in fields:
            if getattr(given, field) is None:
                raise ValueError(
                    f"{type(owner).__name__} needs {whose} {field}, got None: "
                    f"{statistic.given_by}"
                )


def measured_entropy(owner: Part, summary: RolloutSummary) -> float:
    """The rollout's mean entropy, in nats; NaN where no token was trained on.

    Raises ValueError where `summary` lacks a statistic that `owner` reads.
    """
    require_stats(owner, summary)
    assert summary.entropy is not None
    return summary.entropy


def full(old: TokenStats, value: float) -> Tensor:
    """`value` for every token of `old`, float32 (b t)."""
    return torch.full_like(
        old.logprobs, value, dtype=torch.float32, requires_grad=False
    )


def probability(old: TokenStats) -> Tensor:
    """The old policy's probability of each token, float32 (b t), without gradient."""
    return old.logprobs.detach().float().exp()


def checked(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    why: str,
) -> None:
    """Raises ValueError unless it is a number, and low <= value <= high (NaN never
    is)."""
    # a bool is a number to Python, and never what was meant
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, {why}, got {value!r}")
    if not low <= float(value) <= high:
        raise ValueError(f"{name} must be {why}, got {value}")


def not_negative(owner: object, *options: str, most: float = math.inf) -> None:
    """Raises ValueError unless these options of `owner` are at least 0."""
    for name in options:
        checked(name, getattr(owner, name), low=0.0, high=most, why="at least 0")


def check_target(name: str, target: str | float) -> None:
    """Raises ValueError unless a target entropy, a number or a schedule in nats, stays
    over 0."""
    lowest = parse_schedule(target).span[0]
    checked(name, lowest, low=1e-4, why="over 0 nats throughout")


def state_to_json(state: Any) -> dict[str, Any]:
    """A state as a JSON object, tuples as lists. Python's float repr round-trips, so
    nothing is lost."""
    found = {}
    for field, value in state._asdict().items():
        found[field] = list(value) if isinstance(value, tuple) else value
    return found


def state_from_json(owner: Part, fields: Any) -> Any:
    """The state of a strategy, or of an objective, that `state_to_json` wrote.

    ValueError on a field that is missing, unknown, of another type or not finite.
    """
    initial = owner.init()
    name = type(owner).__name__
    if not isinstance(fields, dict) or set(fields) != set(initial._fields):
        got = sorted(fields) if isinstance(fields, dict) else fields
        raise ValueError(
            f"the saved state is not one of {name}: expected fields "
            f"{sorted(initial._fields)}, got {got}"
        )
    values = {}
    for field, value in fields.items():
        like = getattr(initial, field)
        read: Any = tuple(value) if isinstance(value, list) else value
        if not is_field(read, like):
            raise ValueError(f"the saved state of {name} has a bad {field}: {value!r}")
        # a float may have been written as an int
        values[field] = float(read) if isinstance(like, float) else read
    return type(initial)(**values)


def is_field(value: Any, like: Any) -> bool:
    """Whether a state's field may hold `value`, by what `init` puts there: a count stays
    a count, a number is finite, a tuple holds such numbers."""
    if isinstance(like, tuple):
        return isinstance(value, tuple) and all(is_field(item, 0.0) for item in value)
    allowed = (int,) if isinstance(like, int) else (int, float)
    # a JSON true is no count, though bool is an int in Python
    is_number = isinstance(value, allowed) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
