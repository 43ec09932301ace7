"""The controller of a run: its strategy and its objective, each with its state.

Every engine does the same with it: `observe` once per rollout, `bounds` and `correction`
once per micro-batch, `payload` into each checkpoint and `load` from it.
"""

from typing import Any

from jaxtyping import Float
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
    """

    def __init__(self, strategy: Strategy | None, objective: Objective | None = None):
        self.strategy = strategy
        self.objective = objective
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
        if self.strategy is not None:
            self.state = self.strategy.observe(self.state, summary)
        if self.objective is not None:
            self.objective_state = self.objective.observe(self.objective_state, summary)

    def bounds(self, old: TokenStats) -> ClipBounds:
        """The strategy's half-widths, (b t). Only where there is a strategy."""
        assert self.strategy is not None
        return self.strategy.bounds(self.state, old)

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
        signals = {}
        if self.strategy is not None:
            signals |= self.strategy.signals(self.state)
        if self.objective is not None:
            signals |= self.objective.signals(self.objective_state)
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
