"""The processes of one run under accelerate or torchrun: who writes, what all must agree
on, who waits for whom.

Rank 0 owns the run's folder and the terminal. What it alone does (create the folder, take
its lock, score the model) goes through `first`: the others wait for its result, however
long that takes, or for its error.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

from entrostat.engines.meter import TokenSample
from entrostat.lab.config import TrainConfig
from entrostat.lab.launched import world_size
from entrostat.lab.weights import check_weights

T = TypeVar("T")
_PATIENCE = datetime.timedelta(days=365)
"""How long a rank waits for rank 0's scores. A rank that dies ends the wait at once."""


class ElsewhereError(RuntimeError):
    """Rank 0 has failed, and says why itself."""


class Ranks:
    """This process among those of its run. Alone, everything is done here and nothing
    waits."""

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None):
        self.rank = rank
        self.size = size
        self._group = group

    @property
    def is_first(self) -> bool:
        """Whether this one owns the run's folder and the terminal."""
        return self.rank == 0

    @property
    def launcher(self) -> int | None:
        """The process that started several ranks: they stop, resumable, when it is gone."""
        return os.getppid() if self.size > 1 else None

    def first(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, on every rank; it must pickle. Its error there,
        ElsewhereError on the others."""
        if self.size == 1:
            return work()
        # whether it went well, and what it gave
        told: list[Any] = [False, None]
        try:
            if self.is_first:
                told = [True, work()]
        finally:
            # after an error too: the others would wait for ever
            dist.broadcast_object_list(told, src=0, group=self._group)
        if not told[0]:
            raise ElsewhereError("rank 0 has failed")
        return told[1]

    @contextlib.contextmanager
    def holding(self, lock: AbstractContextManager[None]) -> Iterator[None]:
        """Inside, rank 0 holds `lock`."""
        with contextlib.ExitStack() as stack:
            self.first(lambda: stack.enter_context(lock))
            yield

    def any(self, flag: bool) -> bool:
        """Whether it is set on any rank. All must call it, and none goes on before the last
        has."""
        if self.size == 1:
            return flag
        any_of_all = torch.tensor(int(flag))
        dist.all_reduce(any_of_all, op=dist.ReduceOp.MAX, group=self._group)
        return bool(any_of_all)

    def gather_tokens(self, own: TokenSample | None) -> TokenSample | None:
        """The sampled tokens of all ranks on rank 0, None on the others and where there are
        none. All must call it."""
        if self.size == 1:
            return own
        samples: list[Any] = [None] * self.size
        into = samples if self.is_first else None
        dist.gather_object(own, into, dst=0, group=self._group)
        parts = [sample for sample in samples if sample is not None]
        if not parts:
            return None
        fields = zip(*parts, strict=True)
        return TokenSample(*map(torch.cat, fields))

    def share(self, config: TrainConfig) -> int:
        """Completions of a pass on each rank. ValueError where they cannot be shared."""
        if self.size > 1:
            check_weights(config)
        whole = config.completions_per_pass
        if whole % self.size:
            raise ValueError(
                f"{self.size} processes cannot share the {whole} completions that pass "
                f"through the model together (--prompts {config.prompts} x --samples "
                f"{config.samples} over --updates-per-rollout "
                f"{config.updates_per_rollout}): choose numbers that {self.size} divides"
            )
        return whole // self.size


def join() -> Ranks:
    """This process's place among those that the launcher has started."""
    if world_size() == 1:
        return Ranks()
    state = PartialState(cpu=not torch.cuda.is_available())
    # a group of its own: waiting for scores must not run into the timeout of training,
    # nor training lose its own
    group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    return Ranks(state.process_index, state.num_processes, group)
