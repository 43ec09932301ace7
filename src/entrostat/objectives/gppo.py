"""CE-GPPO (arXiv 2509.20712): clipped tokens keep a bounded gradient, in proportion to
PPO's window.

    A < 0, r < 1 - low:   -beta_low (1 - low) / sg(r) r A       for -(1 - low) A
    A > 0, r > 1 + high:  -beta_high (1 + high) / sg(r) r A     for -(1 + high) A

sg stops the gradient, so the loss there is beta times what it was, and its gradient that
of a token at the window's edge. beta_low = beta_high = 1 is GPPO (arXiv 2508.07629).

As released (github.com/Kwai-Klear/CE-GPPO, core_algos.py,
compute_gppo_loss_general_beta): window 0.2 and 0.2, beta_low 0.75 for 7B models and 0.5
for 1.5B, 0.25 by default. Left out: the dual clip at 10, and what the scripts add to this
loss, 0.1 times the mean -ln p over the tokens of right answers.
"""

import dataclasses

import torch
from torch import Tensor

from entrostat.objectives.base import LossInputs
from entrostat.objectives.clipped import Counted, OnClipped
from entrostat.strategies.base import not_negative


@dataclasses.dataclass(frozen=True)
class CeGppo(OnClipped):
    """CE-GPPO: clipped tokens keep a bounded gradient, of weight beta_low and
    beta_high."""

    beta_low: float = 0.75
    """Weight of tokens under the window, A < 0. Larger: less entropy."""
    beta_high: float = 1.0
    """Weight of tokens over the window, A > 0. Larger: more entropy."""

    def __post_init__(self):
        super().__post_init__()
        not_negative(self, "beta_low", "beta_high", most=1e6)

    def correction(self, state: Counted, inputs: LossInputs) -> Tensor:
        under, over = self.events(inputs)
        clipped = under | over
        moved = torch.where(clipped, inputs.logratio, 0.0)
        one = (moved - moved.detach()).exp()  # r / sg(r)
        # the side is chosen among constants: a side without a clip is inf, and inf times
        # a gradient of 0 is NaN
        over_edge = self.beta_high * (1 + self.high)
        under_edge = self.beta_low * (1 - self.low)
        edge = torch.full_like(one, over_edge).masked_fill(under, under_edge)
        kept = -one * edge * inputs.advantages.detach()
        return torch.where(clipped, kept, 0.0) - self.clipped(inputs, clipped)
