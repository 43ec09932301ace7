"""TRL's clip window with one pair of bounds per token: bounds that its clamp can take,
and the events under them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import Bound, ClipBounds, ClipEvents, clip_events
from entrostat.trainers import TRL_CLAMPED


def uncrossed(bounds: ClipBounds, advantages: Tensor, mask: Tensor) -> ClipBounds:
    """Bounds that TRL's clamp can take: its lower edge never over its upper one, which a
    negative half-width can do.

    Only one side matters to a token, the upper where A > 0 and the lower where A < 0;
    the other gives way. Half-widths that are not negative stay as they are. Masked
    tokens get an open window whatever their bounds hold: TRL masks by a product, and
    0 x NaN is NaN.
    """
    open_low = torch.maximum(bounds.low, -bounds.high)
    open_high = torch.maximum(bounds.high, -bounds.low)
    low = torch.where(advantages < 0, bounds.low, open_low)
    high = torch.where(advantages > 0, bounds.high, open_high)
    return ClipBounds(
        torch.where(mask, low, torch.inf), torch.where(mask, high, torch.inf)
    )


def shut(
    bounds: ClipBounds,
    advantages: Float[Tensor, "b #t"],
    mask: Bool[Tensor, "b t"],
) -> Bool[Tensor, "b t"]:
    """Where the window does not let even a ratio of 1 through."""
    below = (bounds.low < 0) & (advantages < 0)
    above = (bounds.high < 0) & (advantages > 0)
    return (below | above).expand_as(mask)


def at_level(
    logratio: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    level: str,
) -> Float[Tensor, "b t"]:
    """The log-ratio that TRL clips at this importance_sampling_level: each token's own,
    or its sequence's mean."""
    if level != "sequence":
        return logratio
    weights = mask.float()
    total = (logratio * weights).sum(-1, keepdim=True)
    tokens = weights.sum(-1, keepdim=True).clamp(min=1.0)
    return (total / tokens).expand_as(logratio)


def events_under(
    logratio: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b #t"],
    loss_type: str,
    low: Bound,
    high: Bound,
    delta: float | None = None,
) -> ClipEvents:
    """Clip events of TRL's loss type under its thresholds, or under ours in their place;
    none where it has no window.

    TRL's `delta` caps r itself, beside the window: A > 0 loses its gradient past the
    lower of the two caps, A < 0 past the higher, an event of the high side.

    cispo caps the weight of a token and keeps its gradient: its events are the capped
    ones, TRL's cispo_clip_ratio, and `high` bounds the ratio itself.
    """
    advantages = advantages.expand_as(logratio)
    none = torch.zeros_like(logratio, dtype=torch.bool)
    if loss_type == "cispo":
        return ClipEvents(none, (logratio.exp() > high) & (advantages > 0))
    if loss_type not in TRL_CLAMPED:
        return ClipEvents(none, none)
    events = clip_events(logratio, advantages, low=low, high=high_under(high, delta))
    if delta is None:
        return events
    ratio = logratio.exp()
    over_both = (ratio > delta) & (ratio > 1 + high)
    capped = over_both & (advantages < 0) & ~events.low
    return ClipEvents(events.low, events.high | capped)


def high_under(high: Bound, delta: float | None) -> Bound:
    """The half-width over 1 past which a token of A > 0 has no gradient, where TRL caps
    r at `delta` too."""
    return high if delta is None else torch.as_tensor(high).clamp(max=delta - 1)
