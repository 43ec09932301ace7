"""Sums by key over a stream.

Memory grows with the number of distinct keys, not with the length of the stream.
"""

import numpy as np

from entrostat.diagnose.types import Floats, Ints

_PENDING = 2**16
"""Rows that wait to be merged. More wait once there are more keys than this, so that
merging, which sorts all keys, stays linear in time over the stream."""


class KeyedSums:
    """Adds up vectors of `values` numbers under keys of `width` integers.

    >>> sums = KeyedSums(width=1, values=1)
    >>> sums.add(np.array([[7], [3]]), np.array([[1.0], [2.0]]))
    >>> sums.add(np.array([[7]]), np.array([[10.0]]))
    >>> [column.tolist() for column in sums.result()]
    [[[3], [7]], [[2.0], [11.0]]]
    """

    def __init__(self, *, width: int, values: int):
        no_keys = np.zeros((0, width), np.int64)
        no_sums = np.zeros((0, values))
        # what is merged, then what is pending
        self._keys: list[Ints] = [no_keys]
        self._sums: list[Floats] = [no_sums]
        self._merged = 0
        self._pending = 0

    def add(self, keys: Ints, values: Floats) -> None:
        """Adds `values` (n, values) under `keys` (n, width), which may repeat."""
        new_keys, which = distinct(keys)
        self._keys.append(new_keys)
        self._sums.append(summed(which, values, len(new_keys)))
        self._pending += len(new_keys)
        if self._pending > max(_PENDING, self._merged):
            self.result()

    def result(self) -> tuple[Ints, Floats]:
        """The keys in ascending order, (k, width), and their sums, (k, values)."""
        if len(self._keys) > 1:
            keys, which = distinct(np.concatenate(self._keys))
            sums = summed(which, np.concatenate(self._sums), len(keys))
            self._keys = [keys]
            self._sums = [sums]
            self._merged = len(keys)
            self._pending = 0
        return self._keys[0], self._sums[0]


def distinct(keys: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of `keys`, and for each row which of them it is.

    Args:
        keys: (n, width).

    Returns:
        The distinct rows in ascending order, (k, width), and (n,) in 0..k - 1.
    """
    if keys.shape[1] == 1:
        values, which = np.unique(keys[:, 0], return_inverse=True)
        return values[:, None], which
    # lexsort, since np.unique(axis=0) is several times slower on long arrays
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    is_new = np.ones(len(keys), bool)
    differs = ordered[1:] != ordered[:-1]
    is_new[1:] = differs.any(axis=1)
    which = np.empty(len(keys), np.int64)
    which[order] = np.cumsum(is_new) - 1
    return ordered[is_new], which


def summed(
    which: Ints,
    values: Floats,
    size: int,
) -> Floats:
    """Sums of the rows of `values`, (n, v), that have the same `which`: (size, v)."""
    sums = np.zeros((size, values.shape[1]))
    for i, column in enumerate(values.T):
        sums[:, i] = np.bincount(which, weights=column, minlength=size)
    return sums
