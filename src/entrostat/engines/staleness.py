"""How old the tokens of an asynchronous run are, and what of their ratios is no policy
change but the sampler's mismatch (mismatch.py).

Everything is a sum over tokens until the window is read, as in meter.py.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrostat.mismatch import mismatch, mismatch_sums


class StalenessMeter:
    """Accumulates one logging window.

    A token of age 0 was sampled by the very weights that are updated now, so its ratio
    holds the mismatch alone. Trainers fetch ahead, so after a run's first update there may
    be no such token any more. What was found last is kept, and compared with later
    windows.

    Args:
        over_ranks: sums a tensor over ranks. Each `add` calls it, where all ranks are;
            `read` may come on one rank alone.
    """

    def __init__(self, over_ranks: Callable[[Tensor], Tensor]):
        self._over_ranks = over_ranks
        self._sums: Float[Tensor, " 9"] | None = None
        self._fresh: dict[str, float] = {}

    def add(
        self,
        logratio: Float[Tensor, "b t"],
        ages: Int[Tensor, "b t"],
        clipped: Bool[Tensor, "b t"],
    ) -> None:
        """Adds a micro-batch, of trained tokens alone.

        Args:
            logratio: trainer's log-probabilities less the sampler's, nats.
            ages: updates between the weights that sampled a token and those at hand.
            clipped: tokens that a ratio of 1 would have left their gradient, and that
                the clip has taken it from.
        """
        size = logratio.detach().abs().double()
        columns = [torch.ones_like(size), ages.double(), size]
        every = torch.stack(columns).sum((1, 2))
        sums = torch.cat([every, mismatch_sums(logratio, ages == 0, clipped)])
        sums = self._over_ranks(sums)
        self._sums = sums if self._sums is None else self._sums + sums

    def read(self) -> dict[str, float]:
        """The window's means over all ranks, and a new window. Empty when nothing was
        added.

        Keys: staleness (mean age, updates), logratio (mean |ln r| of all tokens, nats),
        those of `mismatch` where a token has age 0, and mismatch_share: the mismatch last
        found over `logratio`.
        """
        if self._sums is None:
            return {}
        tokens, age, size = self._sums[:3].tolist()
        found = mismatch(self._sums[3:])
        self._sums = None
        self._fresh = found or self._fresh
        means = {"staleness": age / tokens, "logratio": size / tokens, **found}
        if self._fresh and size:
            means["mismatch_share"] = self._fresh["mismatch"] / means["logratio"]
        return means
