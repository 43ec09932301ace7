"""What the checks of TRL and of verl share: the run that they judge, and how they are
run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import Settings, shown
from entrostat.strategies import Strategy, strategy_name


@dataclasses.dataclass(frozen=True)
class Run:
    """A configuration, and the strategy of entrostat under which it will run."""

    settings: Settings
    loss: str
    """TRL's loss type, or verl's loss mode."""
    strategy: Strategy | None = None
    """None: the trainer's own thresholds."""
    processes: int = 1

    @property
    def acts_on_fresh(self) -> bool:
        """Whether the strategy moves tokens whose ratio is 1."""
        return self.strategy is not None and self.strategy.acts_on_fresh


Check = Callable[[Run], Found | None]
"""One fault that a run may have; None where it does not."""


def run_checks(checks: Sequence[Check], run: Run) -> list[Found]:
    """What the checks find, in their order."""
    results = []
    for check in checks:
        found = check(run)
        if found is not None:
            results.append(found)
    return results


class Edge(NamedTuple):
    """The upper end of the window."""

    name: str
    """What sets it."""
    half_width: float


def upper_edge(run: Run, own: Edge) -> Edge:
    """The highest end that the strategy's window can have; without a strategy the
    trainer's own."""
    if run.strategy is None:
        return own
    return Edge(f"highest of {strategy_name(run.strategy)}", run.strategy.highest)


def one_update(values: Mapping[str, int]) -> Found:
    """That every ratio is 1, by these settings."""
    said = f"one update per rollout ({shown(values)})"
    return Found(Finding.RATIO_ALWAYS_ONE, said, dict(values))


def sampling_cut(
    sampler: Mapping[str, Any], off: Mapping[str, tuple[Any, ...]]
) -> Found | None:
    """That the sampler draws from a part of the distribution alone.

    Args:
        sampler: what it is told, by name.
        off: by name, the values under which it draws from the whole.
    """
    cuts = {}
    for name, values in off.items():
        if sampler[name] not in values:
            cuts[name] = sampler[name]
    if not cuts:
        return None
    return Found(Finding.SAMPLING_CUT, f"the sampler has {shown(cuts)}", cuts)


def bonus_beside(run: Run, bonus: Mapping[str, Any]) -> Found | None:
    """That an entropy bonus stands beside a strategy that controls entropy. `bonus` is
    empty where the loss has none."""
    if run.strategy is None or not run.strategy.controls_entropy or not bonus:
        return None
    name = strategy_name(run.strategy)
    return Found(
        Finding.BONUS_AND_CONTROLLER,
        f"{shown(bonus)} beside {name}",
        {**bonus, "strategy": name},
    )
