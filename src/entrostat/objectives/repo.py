"""REPO-R (arXiv 2603.11682, appendix D.2): advantages rescaled by how surprising the token
is, with a gain that is doubled or halved towards a target entropy.

    A > 0:   A max(1 - zeta ln p, 0)        a rare right token counts more
    A < 0:   A max(1 + zeta ln p, 0)        a rare wrong token counts less

p is the current policy's, without gradient. Once per rollout, with H the rollout's
entropy: under the target |zeta| is doubled where zeta > 0 and halved where zeta < 0; over
it the other way round. Where halving would take |zeta| under zeta_min, the sign turns.

Second-hand: the rescaling and the rule are read from the description of
NovaSky-AI/SkyRL's pull request 1896. zeta_min and zeta_max are ours.
"""

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.weighted import Weighted
from entrostat.schedule import parse_schedule
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    check_target,
    checked,
    measured_entropy,
)


class RepoState(NamedTuple):
    """What the rule remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    target: float = 0.0
    """Nats, of the rollout in progress; 0 before the first."""
    zeta: float = 0.0
    """Gain of the rollout in progress; 0 before the first."""


@dataclasses.dataclass(frozen=True)
class Repo(Weighted):
    """REPO-R: advantages rescaled by the token's surprisal, adaptively."""

    target: str | float = 0.3
    """Entropy aimed at, nats per token, or a schedule: linear:A:B, ..."""
    zeta: float = 0.01
    """Gain of the first rollout. Over 0 raises entropy."""
    zeta_min: float = 1e-3
    """Smallest |zeta|: there its sign may turn."""
    zeta_max: float = 0.5
    """Largest |zeta|."""

    def __post_init__(self):
        super().__post_init__()
        check_target("target", self.target)
        checked("zeta_min", self.zeta_min, low=1e-9, high=1.0, why="in [1e-9, 1]")
        checked(
            "zeta_max",
            self.zeta_max,
            low=self.zeta_min,
            high=1e3,
            why=f"from zeta_min, {self.zeta_min}, to 1000",
        )
        checked(
            "|zeta|",
            abs(self.zeta),
            low=self.zeta_min,
            high=self.zeta_max,
            why=f"from zeta_min, {self.zeta_min}, to zeta_max, {self.zeta_max}",
        )

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    def init(self) -> RepoState:
        return RepoState()

    def observe(self, state: RepoState, summary: RolloutSummary) -> RepoState:
        """The first rollout has `zeta` as given; from then on it moves once per rollout.
        With an entropy of NaN it stays."""
        entropy = measured_entropy(self, summary)
        target = parse_schedule(self.target)(summary.progress, state.rollouts)
        zeta = state.zeta or self.zeta
        if state.rollouts and math.isfinite(entropy):
            zeta = self._moved(zeta, up=entropy < target)
        return RepoState(state.rollouts + 1, target, zeta)

    def _moved(self, zeta: float, *, up: bool) -> float:
        """zeta a step up or down: twice or half its size, over the sign at zeta_min."""
        if (zeta > 0) == up:
            return math.copysign(min(2 * abs(zeta), self.zeta_max), zeta)
        if abs(zeta) / 2 < self.zeta_min:
            return math.copysign(self.zeta_min, -zeta)
        return zeta / 2

    def weights(self, state: RepoState, inputs: LossInputs) -> Tensor:
        zeta = state.zeta or self.zeta
        rescaled = zeta * inputs.logprobs.detach()
        positive = inputs.advantages.detach() > 0
        return (1 + torch.where(positive, -rescaled, rescaled)).clamp(min=0)

    def signals(self, state: RepoState) -> dict[str, float]:
        """target in nats; zeta, the gain."""
        if not state.rollouts:
            return {}
        return {"target": state.target, "zeta": state.zeta}
