"""EntroPIC (arXiv 2511.15248): entropy held by proportional-integral control of a loss on
likely tokens.

As its authors released it (github.com/yk7333/EntroPIC, run_entropic.sh, dp_actor.py and
core_algos.py):

    alpha = clip(kp (H - target) + ki (sum of the former H - target), -1, 1)
    loss += alpha x mean over the micro-batch's tokens with p > threshold of -r |A|

p is the current policy's probability; r has its gradient and no clip window of its own;
the mean is over the likely tokens alone, whatever their share; the integral has no
anti-windup; the error enters the sum after its alpha. kp 1, ki 0.01, threshold 0.95, a
constant target of 0.1 nats; the clip window beneath is verl's 0.2/0.2.

Our reading: H is the rollout's mean token entropy and alpha changes once per rollout,
before its updates. The release measures on each micro-batch and adds a full error to the
sum per update. Its own script makes one update per rollout, where the two agree but for
noise. With U updates per rollout the release's sum grows U times as fast: for the same
integral action multiply ki by U. Left out: the release's clamp of ln r at +-20, and the
dual clip of verl's loss beneath.
"""

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs, Objective
from entrostat.schedule import parse_schedule
from entrostat.strategies.base import (
    Reads,
    RolloutSummary,
    check_target,
    checked,
    measured_entropy,
    not_negative,
)


class EntropicState(NamedTuple):
    """What the controller remembers."""

    rollouts: int = 0
    """Rollouts observed."""
    target: float = 0.0
    """Nats: the schedule's value for the rollout in progress; 0 before the first."""
    total: float = 0.0
    """Sum of H - target over the rollouts observed, nats."""
    alpha: float = 0.0
    """Weight of the term for the rollout in progress. Over 0 makes likely tokens
    likelier, which lowers entropy."""


@dataclasses.dataclass(frozen=True)
class Entropic(Objective):
    """EntroPIC: GRPO's loss + alpha x mean over likely tokens of -r |A|, alpha by PI
    control of entropy."""

    target: str | float = 0.1
    """Entropy aimed at, nats per token, or a schedule:
    linear:A:B, cosine:A:B, step:A:B:AT, sine:..., piecewise:..."""
    kp: float = 1.0
    """Proportional gain, per nat."""
    ki: float = 0.01
    """Integral gain, per nat and rollout."""
    threshold: float = 0.95
    """Tokens over this probability take part."""

    def __post_init__(self):
        check_target("target", self.target)
        not_negative(self, "kp", "ki", most=1e6)
        checked("threshold", self.threshold, low=0.0, high=1.0, why="a probability")

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY

    def init(self) -> EntropicState:
        return EntropicState()

    def observe(self, state: EntropicState, summary: RolloutSummary) -> EntropicState:
        """One step of the controller. With an entropy of NaN, where no token was
        trained on, alpha and the sum stay.

        Raises ValueError where the engine gives no entropy.
        """
        entropy = measured_entropy(self, summary)
        target = parse_schedule(self.target)(summary.progress, state.rollouts)
        state = state._replace(rollouts=state.rollouts + 1, target=target)
        if not math.isfinite(entropy):
            return state
        error = entropy - target
        alpha = min(max(self.kp * error + self.ki * state.total, -1.0), 1.0)
        return state._replace(total=state.total + error, alpha=alpha)

    def correction(self, state: EntropicState, inputs: LossInputs) -> Tensor:
        mask = inputs.mask
        likely = mask & (inputs.logprobs.detach().exp() > self.threshold)
        # the engine divides by all trained tokens, and this mean is over the likely ones
        tokens = mask.sum(dtype=inputs.logprobs.dtype)
        weight = state.alpha * tokens / likely.sum().clamp(min=1)
        # where before exp: a masked token may hold NaN or overflow, and must not in the
        # backward pass either
        ratio = torch.where(likely, inputs.logratio, 0.0).exp()
        term = -weight * ratio * inputs.advantages.detach().abs()
        return torch.where(likely, term, 0.0)

    def signals(self, state: EntropicState) -> dict[str, float]:
        """target in nats; alpha, the weight of the term."""
        if not state.rollouts:
            return {}
        return {"target": state.target, "alpha": state.alpha}
