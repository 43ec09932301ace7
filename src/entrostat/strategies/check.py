"""What a strategy of somebody's own has to be, looked at where it is handed over and where
it is first used. Each is a ValueError of one line: what is wrong, what there was, what to
do.

Cost: a state is looked at once per rollout, on the host. Bounds are looked at in the
first micro-batch of each state, so on a GPU the device is waited for a few times per
rollout and never in the micro-batches after it.
"""

import math
import numbers
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats
from entrostat.strategies.base import Part, Reads, Strategy, is_field

_DECLARED = {
    "reads": Reads,
    "per_token": bool,
    "acts_on_fresh": bool,
    "controls_entropy": bool,
    "highest": numbers.Real,
}
"""What a strategy says of itself, and of what type."""


def check_strategy(strategy: Any) -> None:
    """Raises ValueError unless it is a strategy's object that says of itself what it has
    to, and whose state before the first rollout is one."""
    check_object("strategy", strategy, Strategy)
    name = type(strategy).__name__
    for attribute, kind in _DECLARED.items():
        value = getattr(strategy, attribute)
        if not isinstance(value, kind):
            raise ValueError(
                f"{name}.{attribute} must be of type {kind.__name__}, got {value!r}: "
                "write it as a @property or as a class attribute"
            )
    check_initial(strategy)


def check_object(what: str, part: Any, base: type) -> None:
    """Raises ValueError unless `part` is an object of a class derived from `base`."""
    if isinstance(part, type) and issubclass(part, base):
        raise ValueError(
            f"{what} must be an object, got the class {part.__name__}: write "
            f"{part.__name__}(), with its options in the parentheses"
        )
    if not isinstance(part, base):
        raise ValueError(
            f"{what} must be an object of a class derived from {base.__name__}, got "
            f"{part!r}: derive yours, or make one of entrostat's by its name"
        )


def check_initial(part: Part) -> None:
    """Raises ValueError unless the state of `init` can go into a checkpoint."""
    name, state = type(part).__name__, part.init()
    fields = getattr(state, "_fields", None)
    if not isinstance(state, tuple) or fields is None:
        raise ValueError(
            f"{name}.init() must return a NamedTuple of numbers, which a checkpoint "
            f"keeps as JSON, got {state!r}: return NoState() where nothing is remembered"
        )
    for field, value in zip(fields, state, strict=True):
        _check_field(f"{name}.init()", field, value, value)


def check_observed(part: Part, before: Any, state: Any) -> None:
    """Raises ValueError unless `observe` has turned `before` into a state of the same
    kind."""
    name = type(part).__name__
    if type(state) is not type(before):
        raise ValueError(
            f"{name}.observe() must return the state's own type, "
            f"{type(before).__name__} as init() does, got {state!r}: return "
            "state._replace(...), or the state itself where nothing changes"
        )
    for field, old, value in zip(state._fields, before, state, strict=True):
        _check_field(f"{name}.observe()", field, value, old)


def _check_field(where: str, field: str, value: Any, like: Any) -> None:
    """Raises ValueError unless a field that was `like` may hold `value`."""
    if not is_field(value, like):
        wanted = "int" if isinstance(like, int) else "int or float"
        if isinstance(like, tuple):
            wanted = "tuple of numbers"
        raise ValueError(
            f"{where} gives a state whose {field} must be a finite {wanted}, since a "
            f"checkpoint keeps it as JSON, got {value!r}: keep numbers alone, .item() "
            "of a tensor, a count as an int from init() on"
        )


def check_signals(part: Part, signals: Any) -> None:
    """Raises ValueError unless it is a dict from names to finite numbers."""
    name = type(part).__name__
    if not isinstance(signals, dict):
        raise ValueError(
            f"{name}.signals() must return a dict from names to numbers, got "
            f"{signals!r}: return {{}} for none"
        )
    for key, value in signals.items():
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not isinstance(key, str) or not is_number or not math.isfinite(value):
            raise ValueError(
                f"{name}.signals() must give finite numbers by names, got "
                f"{key!r}: {value!r}: call .item() on a tensor, and leave out what is "
                "not known yet"
            )


class CheckedBounds:
    """A strategy's bounds, looked at in the first micro-batch of each state.

    Raises ValueError, when it is made, for what is no strategy.
    """

    def __init__(self, strategy: Any):
        check_strategy(strategy)
        self.strategy: Strategy = strategy
        self.per_token = strategy.per_token
        self._seen: Any = None

    def __call__(
        self, state: Any, old: TokenStats, mask: Bool[Tensor, "b t"]
    ) -> ClipBounds:
        """The strategy's half-widths, (b t). Raises ValueError where those of trained
        tokens are not what bounds have to be."""
        bounds = self.strategy.bounds(state, old)
        if self.is_new(state):
            self._seen = state
            check_bounds(self.strategy, bounds, old, mask)
        return bounds

    def is_new(self, state: Any) -> bool:
        """Whether the bounds of this state are still to be looked at."""
        return self._seen is None or self._seen != state

    def forget(self) -> None:
        """The next bounds are looked at, whatever the state."""
        self._seen = None


def check_bounds(
    strategy: Strategy, bounds: Any, old: TokenStats, mask: Bool[Tensor, "b t"]
) -> None:
    """Raises ValueError unless these are half-widths under which the loss can train the
    tokens of `mask`. Those of the others may be any."""
    name, like = f"{type(strategy).__name__}.bounds()", old.logprobs
    if not isinstance(bounds, ClipBounds):
        raise ValueError(
            f"{name} must return ClipBounds(low, high), got {type(bounds).__name__}"
        )
    for side, values in zip(("low", "high"), bounds, strict=True):
        _check_tensor(f"{name} gives a {side}", values, like)
    low, high = bounds.low[mask], bounds.high[mask]
    if not low.numel():
        return
    _check_values(f"{name} gives a low", low, strategy.per_token)
    _check_values(f"{name} gives a high", high, strategy.per_token)
    shut = (low < 0) | (high < 0)
    if not strategy.acts_on_fresh and bool(shut.any()):
        raise ValueError(
            f"{name} gives half-widths under 0 for {int(shut.sum())} of {shut.numel()} "
            f"tokens, the least low {float(low.min()):g} and high {float(high.min()):g}: "
            "such a window is empty or leaves out a ratio of 1. Write 0.2 for a ratio "
            "from 0.8 to 1.2, or set acts_on_fresh to True to drop tokens"
        )


def _check_values(what: str, values: Float[Tensor, " n"], per_token: bool) -> None:
    """Raises ValueError for NaN, and for values that differ where they must not."""
    missing = values.isnan()
    if bool(missing.any()):
        raise ValueError(
            f"{what} of NaN for {int(missing.sum())} of {values.numel()} tokens, which "
            "trains them unclipped or not at all: give a number, or inf for no bound"
        )
    if not per_token and bool((values != values[0]).any()):
        raise ValueError(
            f"{what} from {float(values.min()):g} to {float(values.max()):g}, but its "
            "per_token is False, one for all tokens: set per_token to True"
        )


def _check_tensor(what: str, values: Any, like: Tensor) -> None:
    """Raises ValueError unless they are numbers for the tokens of `like`."""
    cure = "make it from old.logprobs.detach(), such as torch.full_like of it"
    if not isinstance(values, Tensor):
        raise ValueError(f"{what} that must be a tensor, got {values!r}: {cure}")
    if values.shape != like.shape:
        raise ValueError(
            f"{what} that must have the shape of old.logprobs, {tuple(like.shape)}, got "
            f"{tuple(values.shape)}: {cure}, or expand it"
        )
    if not values.is_floating_point():
        raise ValueError(
            f"{what} that must hold floating-point numbers, got {values.dtype}: call "
            ".float()"
        )
    if values.requires_grad:
        raise ValueError(
            f"{what} that must have no gradient, got one with requires_grad: {cure}"
        )
    if values.device != like.device:
        raise ValueError(
            f"{what} that must be on {like.device} like old.logprobs, got "
            f"{values.device}: {cure}"
        )
