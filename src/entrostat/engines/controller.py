"""What a checkpoint keeps of the strategy and the objective: their names, options and states, as JSON."""

from typing import Any

from entrostat.objectives import OBJECTIVES, Objective, objective_name
from entrostat.strategies import (
    STRATEGIES,
    Strategy,
    state_from_json,
    state_to_json,
    strategy_name,
)
from entrostat.strategies.base import NoState


def initial_state(part: Strategy | Objective | None) -> Any:
    """The state before the first rollout."""
    return NoState() if part is None else part.init()


def controller_payload(
    strategy: Strategy | None, state: Any, objective: Objective | None, term: Any
) -> dict[str, Any]:
    """{"strategy": {"name", "options"} or None, "state"}, and with an objective "objective" and "objective_state"."""
    payload: dict[str, Any] = {
        "strategy": _described(strategy),
        "state": state_to_json(state),
    }
    if objective is not None:
        payload |= {
            "objective": _described(objective),
            "objective_state": state_to_json(term),
        }
    return payload


def load_state(
    part: Strategy | Objective | None, payload: dict[str, Any], key: str, source: str
) -> Any:
    """The state of `part`, the run's strategy or objective (`key`), from what `controller_payload` gave.

    Options may have changed since. ValueError for the state of another one, and for a state that is not whole.
    """
    saved, mine = (payload.get(key) or {}).get("name"), _name(part)
    if saved != mine:
        raise ValueError(
            f"{source} holds the state of {key} {saved!r}, this run has {mine!r}: resume with {saved!r}"
        )
    fields = payload.get("state" if key == "strategy" else "objective_state")
    return NoState() if part is None else state_from_json(part, fields)


def _name(part: Strategy | Objective | None) -> str | None:
    if part is None:
        return None
    return strategy_name(part) if isinstance(part, Strategy) else objective_name(part)


def _described(part: Strategy | Objective | None) -> dict[str, Any] | None:
    if part is None:
        return None
    registry = STRATEGIES if isinstance(part, Strategy) else OBJECTIVES
    return registry.to_json(part)
