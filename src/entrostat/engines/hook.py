"""Bounds inside another trainer's loss hook, which sees one micro-batch's
log-probabilities and nothing else of a run.

No hook of skyrl.py, prime_rl.py and slime.py carries the step, the rollout's mean
entropy, or the old policy's entropy per token. So a strategy that remembers nothing and
reads old log-probabilities alone works as it is. One with a state works where the caller
keeps that state. One that reads the old policy's entropy at each token is refused.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipBounds
from entrostat.engines.controller import check_reads
from entrostat.engines.window import uncrossed
from entrostat.entropy import TokenStats
from entrostat.strategies import Reads, Strategy, strategy_name
from entrostat.strategies.base import NoState
from entrostat.strategies.check import CheckedBounds, check_observed

StateOf = Callable[[], Any]


class Hook:
    """A strategy in the loss hook of `trainer`.

    Raises ValueError for what is no strategy, and where the hook lacks what it needs.
    """

    def __init__(self, strategy: Strategy, state: StateOf | None, trainer: str):
        self._bounds = CheckedBounds(strategy)
        check_reads(
            strategy,
            # a caller that keeps the state observes in its own loop, and can give the
            # mean
            Reads.MEAN_ENTROPY,
            f"and {trainer}'s hook has none: use a strategy that reads "
            "log-probabilities alone (grpo, clip-higher, clip-lower, dynamic, dcpo, dppo), or "
            "TRL or verl",
        )
        self._initial = strategy.init()
        if state is None and not isinstance(self._initial, NoState):
            raise ValueError(
                f"strategy {strategy_name(strategy)!r} observes each rollout, and "
                f"{trainer}'s loss hook sees none: give state=, a function that returns "
                "the state which your own loop keeps with strategy.observe, or use TRL "
                "or verl"
            )
        self._state = state

    def bounds(
        self,
        old_logprobs: Float[Tensor, "b t"],
        advantages: Float[Tensor, "b #t"],
        mask: Bool[Tensor, "b t"],
    ) -> ClipBounds:
        """Half-widths that the trainer's own clamp can take: see `uncrossed`.
        `old_logprobs`: of the sampling policy."""
        state = self._initial
        if self._state is not None:
            state = self._state()
        if self._bounds.is_new(state):
            check_observed(self._bounds.strategy, self._initial, state)
        bounds = self._bounds(state, TokenStats(old_logprobs.detach()), mask)
        return uncrossed(bounds, advantages, mask)
