"""Everything that the lab can train with, by name: strategies, TRL's own methods,
objectives of other papers.

A method is a frozen dataclass, its fields are its options, and `recipe` says what of it
goes where: a strategy and an objective into the engine, the rest into TRL's GRPOConfig.
Sources and settings: docs/methods.md.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.lab.method_registry import METHODS
from entrostat.objectives import Objective
from entrostat.objectives.clipped import OnClipped
from entrostat.schedule import Schedule, parse_schedule
from entrostat.strategies import Strategy
from entrostat.strategies.base import check_target, checked, not_negative
from entrostat.strategies.static import Grpo


class Recipe(NamedTuple):
    """How to train a method."""

    strategy: Strategy | None = None
    """None: TRL's own thresholds and loss stand."""
    objective: Objective | None = None
    trl: Mapping[str, Any] = MappingProxyType({})
    """Fields of GRPOConfig that the method sets."""
    target: Schedule | None = None
    """The entropy that TRL itself aims at, nats; the run sets TRL's entropy_target to it
    before each rollout."""


@dataclasses.dataclass(frozen=True)
class TrlMethod(ABC):
    """Base of TRL's own methods. Subclasses are frozen dataclasses, and final."""

    @abstractmethod
    def recipe(self) -> Recipe:
        """What of it goes where."""


@dataclasses.dataclass(frozen=True)
class Gspo(TrlMethod):
    """GSPO (arXiv 2507.18071): one ratio per sequence, the geometric mean of its tokens',
    in a narrow window."""

    low: float = 3e-4
    """Half-width below 1."""
    high: float = 4e-4
    """Half-width above 1."""

    def __post_init__(self):
        # its checks are the same
        Grpo(self.low, self.high)

    def recipe(self) -> Recipe:
        # the paper averages sequences, not tokens, and TRL warns of other loss types here
        return Recipe(
            Grpo(self.low, self.high),
            trl={"importance_sampling_level": "sequence", "loss_type": "grpo"},
        )


@dataclasses.dataclass(frozen=True)
class Sapo(TrlMethod):
    """SAPO (arXiv 2511.20347): a soft gate, sigmoid(temperature (r - 1)) 4 / temperature,
    in place of the clip."""

    temperature_pos: float = 1.0
    """Of tokens with a positive advantage. Larger: a narrower gate."""
    temperature_neg: float = 1.05
    """Of the others."""

    def __post_init__(self):
        for name in ("temperature_pos", "temperature_neg"):
            checked(name, getattr(self, name), low=1e-3, high=1e3, why="over 0")

    def recipe(self) -> Recipe:
        fields = {
            "loss_type": "sapo",
            "sapo_temperature_pos": self.temperature_pos,
            "sapo_temperature_neg": self.temperature_neg,
        }
        return Recipe(trl=fields)


@dataclasses.dataclass(frozen=True)
class Cispo(TrlMethod):
    """CISPO (arXiv 2506.13585): REINFORCE with weights min(r, epsilon_high), so that no
    token loses its gradient."""

    epsilon_high: float = 5.0
    """Cap of the ratio itself, as in ScaleRL (arXiv 2510.13786); not a half-width."""

    def __post_init__(self):
        checked(
            "epsilon_high",
            self.epsilon_high,
            low=1e-3,
            why="over 0 (a cap of the ratio, so usually over 1)",
        )

    def recipe(self) -> Recipe:
        return Recipe(trl={"loss_type": "cispo", "epsilon_high": self.epsilon_high})


@dataclasses.dataclass(frozen=True)
class EntropyBonus(TrlMethod):
    """An entropy bonus: GRPO's loss - coef x mean token entropy."""

    coef: float = 3e-3
    """Weight of the entropy, per nat."""

    def __post_init__(self):
        not_negative(self, "coef", most=1e3)

    def recipe(self) -> Recipe:
        return Recipe(trl={"entropy_coef": self.coef})


@dataclasses.dataclass(frozen=True)
class AdaptiveEntropy(TrlMethod):
    """Skywork-OR1's adaptive bonus (arXiv 2505.22312): its weight grows by delta per update
    below target, else falls.

    The bonus is applied only where entropy is at or under the target, so it can push
    entropy up and never down.
    """

    target: str | float = 0.2
    """Entropy under which the bonus acts, nats per token, or a schedule:
    linear:A:B, cosine:A:B, step:A:B:AT, ..."""
    delta: float = 0.005
    """Step of the weight, per nat and update."""
    coef_max: float = 1.0
    """Largest weight."""

    def __post_init__(self):
        check_target("target", self.target)
        not_negative(self, "delta", "coef_max", most=1e3)

    def recipe(self) -> Recipe:
        target = parse_schedule(self.target)
        fields = {
            "use_adaptive_entropy": True,
            "entropy_target": target(0.0),
            "entropy_coef_delta": self.delta,
            "entropy_coef_max": self.coef_max,
        }
        return Recipe(trl=fields, target=target)


Method = Strategy | TrlMethod | Objective

SETTINGS: Mapping[str, tuple[Mapping[str, float | str], ...]] = MappingProxyType(
    {
        "trl:gspo": (
            {"low": 3e-4, "high": 4e-4},
            {"low": 3e-3, "high": 4e-3},
            {"low": 0.03, "high": 0.04},
        ),
        "trl:sapo": (
            {"temperature_pos": 1.0, "temperature_neg": 1.05},
            {"temperature_pos": 1.0, "temperature_neg": 2.0},
            {"temperature_pos": 10.0, "temperature_neg": 10.5},
        ),
        "trl:cispo": (
            {"epsilon_high": 5.0},
            {"epsilon_high": 2.0},
            {"epsilon_high": 1.2},
        ),
        "trl:entropy-bonus": ({"coef": 1e-3}, {"coef": 3e-3}, {"coef": 1e-2}),
        "trl:adaptive-entropy": ({"delta": 5e-3}, {"delta": 5e-4}, {"delta": 5e-2}),
        # 1, 5 and 25 of 250 tokens, the lab's update at 16 x 16, where 2e-3 would be 1 again
        "objective:clip-cov": ({"ratio": 2e-4}, {"ratio": 2e-2}, {"ratio": 0.1}),
        "objective:kl-cov": ({"ratio": 2e-4}, {"ratio": 2e-2}, {"ratio": 0.1}),
        "objective:ce-gppo": (
            {"beta_low": 0.75},
            {"beta_low": 0.5},
            {"beta_low": 0.25},
        ),
        "objective:entropic": (
            {"kp": 1.0, "ki": 0.01},
            {"kp": 5.0, "ki": 0.05},
            {"kp": 20.0, "ki": 0.2},
        ),
        "objective:repo": ({"zeta_max": 0.5}, {"zeta_max": 0.1}, {"zeta_max": 0.02}),
        "objective:stare": ({"weight": 1.1}, {"weight": 1.5}, {"weight": 3.0}),
        # the published band, one for the lab's entropies, and one that does not move
        "objective:entrocraft": (
            {"band_low": "linear:0.6:0.1", "band_high": "linear:0.7:0.2"},
            {"band_low": "linear:0.3:0.05", "band_high": "linear:0.4:0.1"},
            {"band_low": 0.05, "band_high": 0.3},
        ),
        "objective:w-reinforce": ({"weight": 0.1}, {"weight": 0.5}, {"weight": 0.8}),
    }
)
"""What a comparison chooses from, the published setting first where there is one;
docs/methods.md says why these."""


def make_method(name: str, **options: Any) -> Method:
    """The method called `name`, its options as keywords.

    Raises ValueError for an unknown name or option, naming the near ones, and for a
    value out of range.

    >>> make_method("trl:cispo", epsilon_high=2.0)
    Cispo(epsilon_high=2.0)
    """
    return METHODS.make(name, **options)


def method_name(method: Method) -> str:
    """The registry's name of a method, or its class's name when it is somebody's own."""
    return METHODS.name_of(method)


def as_arguments(method: Method) -> list[str]:
    """The method as words of the command line: its name, and the options that are not its
    defaults."""
    return METHODS.as_arguments(method)


def label(method: Method) -> str:
    """The method as a run calls itself.

    >>> label(make_method("objective:entropic", target=0.35))
    'objective:entropic target 0.35'
    """
    return " ".join(as_arguments(method)).replace("--", "")


def recipe(method: Method) -> Recipe:
    """How to train it. An objective stands on the window that it names, or on GRPO's of
    0.2 and 0.2, TRL's own."""
    if isinstance(method, Strategy):
        return Recipe(method)
    if isinstance(method, OnClipped):
        window = {"epsilon": method.low, "epsilon_high": method.high}
        return Recipe(objective=method, trl={**window, "loss_type": "dapo"})
    if isinstance(method, Objective):
        return Recipe(objective=method, trl={"epsilon": 0.2, "epsilon_high": 0.2})
    return method.recipe()


def to_json(method: Method) -> dict[str, Any]:
    """{"name", "options"}, as a run's config.json has it under "strategy"."""
    return METHODS.to_json(method)


def from_json(record: Mapping[str, Any]) -> Method:
    """The method that `to_json` described. KeyError or TypeError where it did not."""
    return METHODS.from_json(record)


def aimed_at(method: Method, target: float) -> Method:
    """The method with `target` (nats) in place of its own; itself where it aims at
    none."""
    options = [field.name for field in dataclasses.fields(method)]
    if "target" not in options:
        return method
    return dataclasses.replace(method, target=target)
