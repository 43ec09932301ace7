"""The controller of a run: its strategy and its objective, each with its state.

Every engine does the same with it: `observe` once per rollout, `bounds` and `correction`
once per micro-batch, `payload` into each checkpoint and `load` from it.
"""

import logging
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.objectives import OBJECTIVES, LossInputs, Objective
from entrostat.strategies import (
    STRATEGIES,
    Reads,
    RolloutSummary,
    Strategy,
    state_from_json,
    state_to_json,
    strategy_name,
)
from entrostat.strategies.base import STATISTICS, NoState
from entrostat.strategies.check import (
    CheckedBounds,
    check_initial,
    check_object,
    check_observed,
    check_signals,
)

LOGGER = logging.getLogger(__name__)


def check_reads(strategy: Strategy, given: Reads, where: str) -> None:
    """Raises ValueError where `strategy` reads a statistic that an engine does not give.

    Args:
        given: what the engine gives.
        where: completes "the strategy needs this statistic, ...": why it is missing, and
            what to do.
    """
    for missing in strategy.reads & ~given:
        raise ValueError(
            f"strategy {strategy_name(strategy)!r} needs {STATISTICS[missing].name}, "
            f"{where}"
        )


class Controller:
    """What decides on a run's bounds and on its additional loss term, and remembers.

    Without a strategy the trainer's own thresholds stand; without an objective its own
    loss. The state of what is not there is NoState.

    Raises ValueError for what is no strategy or no objective, and at the first use, or
    the first after a rollout, for what they return (strategies/check.py).
    """

    def __init__(self, strategy: Strategy | None, objective: Objective | None = None):
        self._bounds = None if strategy is None else CheckedBounds(strategy)
        if objective is not None:
            check_object("objective", objective, Objective)
            check_initial(objective)
        self.strategy = strategy
        self.objective = objective
        self._signals_are_checked = False
        self._age_is_told = False
        self.state: Any = NoState() if strategy is None else strategy.init()
        self.objective_state: Any = NoState() if objective is None else objective.init()

    @property
    def reads(self) -> Reads:
        """What both need to know of the old policy."""
        reads = Reads.LOGPROBS
        for part in (self.strategy, self.objective):
            if part is not None:
                reads |= part.reads
        return reads

    def observe(self, summary: RolloutSummary) -> None:
        """Once per rollout, before its updates."""
        if self.strategy is not None and self._bounds is not None:
            self._tell_age(self.strategy, summary)
            self.state = _observed(self.strategy, self.state, summary)
            self._bounds.forget()
        if self.objective is not None:
            self.objective_state = _observed(
                self.objective, self.objective_state, summary
            )

    def _tell_age(self, strategy: Strategy, summary: RolloutSummary) -> None:
        """Warns, once, where tokens are older than the strategy can use."""
        age, oldest = len(summary.ages or (1.0,)) - 1, strategy.oldest
        if oldest is None or age <= oldest or self._age_is_told:
            return
        LOGGER.warning(
            f"strategy {strategy_name(strategy)!r} predicts entropy over at most "
            f"{oldest} rollouts, and some tokens are {age} old: it exerts no pressure on "
            "such rollouts, and its window is the plain one; lower the staleness"
        )
        self._age_is_told = True

    def bounds(self, old: TokenStats, mask: Bool[Tensor, "b t"]) -> ClipBounds:
        """The strategy's half-widths, (b t), which are looked at for the tokens of `mask`
        alone. Only where there is a strategy."""
        assert self._bounds is not None
        return self._bounds(self.state, old, mask)

    def correction(self, inputs: LossInputs) -> Float[Tensor, "b t"]:
        """The objective's term per token. Only where there is an objective."""
        assert self.objective is not None
        return self.objective.correction(self.objective_state, inputs)

    @property
    def pair(self) -> tuple[Objective, Any] | None:
        """The objective and its state, as `fast.update` takes them."""
        if self.objective is None:
            return None
        return self.objective, self.objective_state

    def signals(self) -> dict[str, float]:
        """What is worth logging of both; an objective's come last."""
        signals: dict[str, float] = {}
        parts = ((self.strategy, self.state), (self.objective, self.objective_state))
        for part, state in parts:
            if part is None:
                continue
            found = part.signals(state)
            # a number that is none later on is left out by the engines: no reason to
            # stop a run
            if not self._signals_are_checked:
                check_signals(part, found)
            signals |= found
        self._signals_are_checked = True
        return signals

    def payload(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON.

        {"strategy": {"name", "options"} or None, "state"}, and with an objective
        "objective" and "objective_state".
        """
        strategy = None if self.strategy is None else STRATEGIES.to_json(self.strategy)
        payload = {"strategy": strategy, "state": state_to_json(self.state)}
        if self.objective is not None:
            payload["objective"] = OBJECTIVES.to_json(self.objective)
            payload["objective_state"] = state_to_json(self.objective_state)
        return payload

    def load(self, payload: dict[str, Any], source: str) -> None:
        """Takes the states that `payload` gave, from the file `source`.

        Options may have changed since. ValueError for the states of others, and for one
        that is not whole; nothing is taken then.
        """
        _check_same("strategy", self.strategy, payload, source)
        _check_same("objective", self.objective, payload, source)
        state = _state(self.strategy, payload.get("state"))
        objective_state = _state(self.objective, payload.get("objective_state"))
        self.state, self.objective_state = state, objective_state


def _observed(part: Strategy | Objective, before: Any, summary: RolloutSummary) -> Any:
    """The part's state after the rollout. ValueError where it is none."""
    state = part.observe(before, summary)
    check_observed(part, before, state)
    return state


def _check_same(
    what: str,
    part: Strategy | Objective | None,
    payload: dict[str, Any],
    source: str,
) -> None:
    """Raises ValueError where the saved state is that of another strategy or
    objective."""
    saved = (payload.get(what) or {}).get("name")
    present = None
    if part is not None:
        registry = STRATEGIES if isinstance(part, Strategy) else OBJECTIVES
        present = registry.name_of(part)
    if saved != present:
        raise ValueError(
            f"{source} holds the state of {what} {saved!r}, this run has {present!r}: "
            f"resume with {saved!r}"
        )


def _state(part: Strategy | Objective | None, fields: Any) -> Any:
    return NoState() if part is None else state_from_json(part, fields)
