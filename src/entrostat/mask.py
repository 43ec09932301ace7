"""Masks that drop tokens from a policy-gradient loss, in place of a clip.

Notation as in entrostat.clip: logratio = logprobs - old_logprobs in nats, r its
exponential, p the probability of the sampled token, advantage A. Some losses are
-r A over the kept tokens and nothing over the others. A clipped loss is a constant where
it clips, so the gradients are the same: a mask is a clip whose events are dropped.

What a mask looks at, its statistic, is one of

    "ratio"          r - 1
    "probability"    p - p_old = p_old (r - 1)

and so a mask on the change of p is a window on r whose half-widths are divided by p_old,
token by token: see `over_ratio`, and `over_probability` for the way back.

Variants:
    DPPO, binary TV (arXiv 2602.04879, equation 13), the default loss of prime-rl 0.8.0
    (default_loss_fn), SkyRL's and verl's "dppo": one-sided, on p. Low where A < 0, high
    where A > 0.
    prime-rl's "ipo": two-sided, on p.
    IcePop (slime's icepop_function, SkyRL's off_policy_correction): two-sided, on the
    ratio of the trainer's old policy to the sampler, not on that of the present policy.
DPPO's binary KL is left out: its statistic is no function of p - p_old alone.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound, ClipBounds, require_per_token

Statistic = Literal["ratio", "probability"]


def keep_mask(
    logratio: Float[Tensor, "b t"],
    old_logprobs: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"] | None,
    *,
    low: Bound,
    high: Bound,
    statistic: Statistic = "ratio",
) -> Bool[Tensor, "b t"]:
    """True where a mask keeps the token.

    A token is dropped when its statistic has moved further than allowed in the direction
    that its advantage pushes: under -low where A < 0, over high where A > 0. A token at
    its bound is kept, and so is one of advantage 0, whose gradient is 0 anyway. NaN is
    kept, so that it is seen.

    Args:
        logratio: log pi(a|s) - log pi_old(a|s), nats.
        old_logprobs: log pi_old(a|s), nats, of the policy that has sampled the token.
        advantages: (b t), or (b 1) for one advantage per sequence. None: two-sided, a
            token is dropped past either bound, whatever its advantage.
        low: how far the statistic may fall: a float, or a tensor that broadcasts to
            (b t). 1.0 disables it, for both statistics.
        high: how far it may rise; inf disables it, and for "probability" 1.0 does.

    Raises:
        ValueError: an unknown statistic, or advantages of another shape.

    >>> p_old, p = torch.tensor([[0.01, 0.5]]), torch.tensor([[0.02, 0.8]])
    >>> A = torch.ones(1, 1)
    >>> keep_mask((p / p_old).log(), p_old.log(), A, low=0.2, high=0.7)
    tensor([[False,  True]])
    >>> change = "probability"
    >>> keep_mask((p / p_old).log(), p_old.log(), A, low=0.2, high=0.2, statistic=change)
    tensor([[ True, False]])
    """
    if statistic not in get_args(Statistic):
        raise ValueError(
            f"statistic must be one of {', '.join(get_args(Statistic))}, got "
            f"{statistic!r}"
        )
    moved = logratio.detach().expm1()
    if statistic == "probability":
        moved = moved * old_logprobs.detach().exp()
    fallen, risen = moved < -low, moved > high
    if advantages is None:
        return ~(fallen | risen)
    require_per_token("advantages", advantages, logratio.shape)
    return ~((fallen & (advantages < 0)) | (risen & (advantages > 0)))


def over_ratio(bounds: ClipBounds, old_logprobs: Float[Tensor, "b t"]) -> ClipBounds:
    """Half-widths on r that take the same tokens as these half-widths on p.

    Where p cannot rise so far, p_old + high >= 1, the window is open above.

    >>> half = torch.tensor([[0.1]])
    >>> over_ratio(ClipBounds(half, half), torch.tensor([[0.5]]).log()).high
    tensor([[0.2000]])
    """
    p_old = old_logprobs.detach().float().exp()
    # an impossible token has a window so wide that nothing leaves it, where a division
    # by 0 would give NaN for a half-width of 0
    divisor = p_old.clamp(min=torch.finfo(p_old.dtype).tiny)
    high = torch.where(p_old + bounds.high >= 1, torch.inf, bounds.high / divisor)
    return ClipBounds(bounds.low / divisor, high)


def over_probability(
    bounds: ClipBounds, old_logprobs: Float[Tensor, "b t"]
) -> ClipBounds:
    """Half-widths on p that take the same tokens as these half-widths on r.

    >>> half = torch.tensor([[0.2]])
    >>> over_probability(ClipBounds(half, half), torch.tensor([[0.5]]).log()).high
    tensor([[0.1000]])
    """
    p_old = old_logprobs.detach().float().exp()
    low, high = bounds.low * p_old, bounds.high * p_old
    # an open side stays open for an impossible token, where inf * 0 would be NaN
    low = torch.where(bounds.low.isinf(), bounds.low, low)
    high = torch.where(bounds.high.isinf(), bounds.high, high)
    return ClipBounds(low, high)
