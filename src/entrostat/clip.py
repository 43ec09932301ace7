"""Clipped policy-gradient loss with one window per token, its clip events, and the
reduction to a scalar.

Notation: b sequences, t tokens. logratio = logprobs - old_logprobs in nats, ratio
r = exp(logratio), advantage A. Tokens are sampled from the old policy. The window of a
token is [1 - low, 1 + high].

The surrogate of PPO (Schulman et al. 2017, arXiv 1707.06347, equation 7), which GRPO
shares, is min(r A, clip(r) A). It looks at one side only: at the upper bound where A > 0
and at the lower one where A < 0. It is written here in that one-sided form, so a negative
low or high, where 1 - low > 1 + high can be, still has one meaning: with A > 0 and
high < 0, a token counts only while its ratio is at or under 1 - |high|. Left out: the
dual clip (verl's clip_ratio_c, TRL's delta), a second bound on the other side.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Bound = float | int | Float[Tensor, "..."]
Reduction = Literal["token-mean", "sequence-mean", "constant-length"]


class ClipBounds(NamedTuple):
    """Half-widths of each token's window [1 - low, 1 + high], (b t), without gradient;
    finite or inf, either sign."""

    low: Float[Tensor, "b t"]
    high: Float[Tensor, "b t"]


class ClipEvents(NamedTuple):
    """Tokens whose gradient the clip has set to zero, (b t), by the side that did it.
    Never both."""

    low: Bool[Tensor, "b t"]
    high: Bool[Tensor, "b t"]


def clip_loss(
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
    *,
    low: Bound,
    high: Bound,
) -> Float[Tensor, "b t"]:
    """Clipped surrogate of PPO and GRPO as a loss to minimise, per token:
    -min(r A, clip(r, 1 - low, 1 + high) A).

    Its gradient with respect to logratio is -A r, and exactly zero where `clip_events`
    says. It has none through advantages and bounds. A token of zero advantage has zero
    loss. A token to which no gradient comes back passes none on, so one that `aggregate`
    masks may hold NaN or inf.

    Args:
        logratio: log pi(a|s) - log pi_old(a|s), nats, under the tokens' sampling policy
            pi_old.
        advantages: (b t), or (b 1) for one advantage per sequence.
        low: half-width under 1: a float, or a tensor that broadcasts to (b t). 1.0
            disables it where it is not needed.
        high: half-width over 1, likewise; inf disables it. Either may be negative.

    Raises:
        ValueError: a shape that does not fit, (b,) included: it would broadcast over
            tokens when b = t. A bound that is the float NaN.

    >>> r, A = torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0]])
    >>> clip_loss(r.log(), A, low=0.2, high=0.2)
    tensor([[-0.5000, -1.2000]])
    """
    floor, cap = _window(logratio, advantages, low, high)
    advantages = advantages.detach()
    events = _events(logratio.detach().exp(), advantages, floor, cap)
    surrogate = _ScaledExp.apply(logratio, advantages)
    surrogate = torch.where(events.low, floor * advantages, surrogate)
    surrogate = torch.where(events.high, cap * advantages, surrogate)
    return -torch.where(advantages == 0, 0.0, surrogate)


def clip_events(
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
    *,
    low: Bound,
    high: Bound,
) -> ClipEvents:
    """Where `clip_loss` has no gradient, split by side: low is r < 1 - low and A < 0, high
    is r > 1 + high and A > 0.

    Arguments and errors are those of `clip_loss`. A ratio equal to its bound is no event,
    as in TRL's clip_ratio metrics. NaN is no event.

    >>> r, A = torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0, 1.0]])
    >>> clip_events(r.log(), A, low=0.2, high=0.2).high
    tensor([[False,  True]])
    """
    floor, cap = _window(logratio, advantages, low, high)
    return _events(logratio.detach().exp(), advantages.detach(), floor, cap)


def aggregate(
    per_token: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    how: Reduction,
    normalizer: float | int | Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Reduces a loss per token to the scalar of a loss type. Masked tokens never matter,
    whatever they hold.

    how, with TRL's name for it, and what `normalizer` is there:
        "token-mean" (bnpo, dapo): sum over tokens / number of tokens. The number is the
            mask's, at least 1 (bnpo), unless given: that of the whole update over all
            ranks (dapo, arXiv 2503.14476 equation 8).
        "sequence-mean" (grpo, arXiv 2402.03300 equation 3): mean over sequences of each
            one's mean over its tokens; a sequence without any is a zero that counts.
            Takes no normalizer.
        "constant-length" (dr_grpo, arXiv 2503.20783): sum over tokens / (b * normalizer).
            It is required: the longest completion that sampling allows, so that a token
            weighs the same in every batch.

    Raises:
        ValueError: an unknown `how`, a normalizer that is missing, not wanted, or a
            number that is not positive, or shapes that differ.

    >>> loss = torch.tensor([[1.0, 2.0], [6.0, torch.nan]])
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> aggregate(loss, mask, how="token-mean"), aggregate(loss, mask, how="sequence-mean")
    (tensor(3.), tensor(3.7500))
    """
    if mask.shape != per_token.shape:
        raise ValueError(
            f"mask must have the loss's shape {tuple(per_token.shape)}, got "
            f"{tuple(mask.shape)}"
        )
    _check_normalizer(how, normalizer)
    kept = torch.where(mask, per_token, 0.0)
    if how == "sequence-mean":
        return (kept.sum(-1) / mask.sum(-1).clamp(min=1)).mean()
    if normalizer is None:
        return kept.sum() / mask.sum().clamp(min=1)
    if how == "constant-length":
        normalizer = normalizer * len(kept)
    return kept.sum() / normalizer


def require_per_token(name: str, value: Tensor, shape: torch.Size) -> None:
    """Raises ValueError unless `value` is (b t) or broadcasts to it without its
    dimensions being guessed."""
    fits = value.ndim == len(shape) and all(
        size in (1, whole) for size, whole in zip(value.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} must be (b t) = {tuple(shape)}, or 1 in a dimension to broadcast, "
            f"got {tuple(value.shape)}; for one value per sequence pass {name}[:, None]"
        )


class _ScaledExp(torch.autograd.Function):
    """scale * exp(x), without gradient to scale.

    Where the incoming gradient is zero so is the outgoing one, also where the value is
    NaN or inf: plain autograd would give 0 * inf = NaN, and a masked token would poison
    the model.
    """

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor) -> Tensor:
        y = scale * x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor):
        (grad,), (y,) = grad_outputs, ctx.saved_tensors
        # d/dx scale exp(x) is the value itself
        return torch.where(grad == 0, 0.0, grad * y), None


def _check_normalizer(how: str, normalizer: float | int | Tensor | None) -> None:
    if how not in get_args(Reduction):
        raise ValueError(
            f"how must be one of {', '.join(get_args(Reduction))}, got {how!r}"
        )
    if how == "constant-length" and normalizer is None:
        raise ValueError(
            "constant-length got no normalizer; give it the longest completion that "
            "sampling allows"
        )
    if how == "sequence-mean" and normalizer is not None:
        raise ValueError(
            "sequence-mean divides by the mask's own counts, got "
            f"normalizer={normalizer}; leave it out"
        )
    # the value of a tensor is not looked at: on a GPU that would wait for it
    if normalizer is None or isinstance(normalizer, Tensor):
        return
    if not normalizer > 0:
        raise ValueError(f"normalizer must be positive, got {normalizer}")


def _window(
    logratio: Tensor,
    advantages: Tensor,
    low: Bound,
    high: Bound,
) -> tuple[Bound, Bound]:
    """The bounds 1 - low and 1 + high, validated, without gradient."""
    require_per_token("advantages", advantages, logratio.shape)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, Tensor):
            if bound.ndim:
                require_per_token(name, bound, logratio.shape)
        elif math.isnan(bound):
            raise ValueError(
                f"{name} must be a number, got NaN; to disable a side use low=1.0 or "
                "high=inf"
            )
    return 1 - _detached(low), 1 + _detached(high)


def _detached(bound: Bound) -> Bound:
    return bound.detach() if isinstance(bound, Tensor) else bound


def _events(ratio: Tensor, advantages: Tensor, floor: Bound, cap: Bound) -> ClipEvents:
    low = (ratio < floor) & (advantages < 0)
    high = (ratio > cap) & (advantages > 0)
    return ClipEvents(low, high)
