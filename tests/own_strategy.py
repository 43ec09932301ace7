"""Strategies of somebody's own, made up: one that says nothing of itself, one that says what it is told to,
and one that drops tokens."""

import dataclasses
from typing import Any

import torch

from entrostat import ClipBounds
from entrostat.strategies import NoState, Reads, Strategy


@dataclasses.dataclass(frozen=True)
class Silent(Strategy):
    """A constant window, and no more than a strategy has to have."""

    low: float = 0.1
    high: float = 0.3

    @property
    def per_token(self):
        return False

    def init(self) -> Any:
        return NoState()

    def observe(self, state, summary):
        return state

    def bounds(self, state, old) -> Any:
        return ClipBounds(torch.full_like(old.logprobs, self.low), torch.full_like(old.logprobs, self.high))


@dataclasses.dataclass(frozen=True)
class Own(Silent):
    """It reads, and controls, what it is made with; its `target` says nothing of that."""

    needs: Reads = Reads.LOGPROBS
    controls: bool = False
    target: float = 0.3

    @property
    def reads(self):
        return self.needs

    @property
    def controls_entropy(self):
        return self.controls


class Dropping(Silent):
    """Its window may leave out a ratio of 1, and so drop a token before it has moved."""

    @property
    def acts_on_fresh(self):
        return True
