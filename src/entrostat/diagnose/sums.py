"""Sums by key over a stream: as many numbers are held as there are keys, however long the stream is."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_LOOSE = 2**16
"""Rows that wait to be summed up; at least as many as there are keys already, so that time stays linear."""


class KeyedSums:
    """Adds up vectors of `values` numbers under keys of `width` integers.

    >>> sums = KeyedSums(width=1, values=1)
    >>> sums.add(np.array([[7], [3]]), np.array([[1.0], [2.0]]))
    >>> sums.add(np.array([[7]]), np.array([[10.0]]))
    >>> [column.tolist() for column in sums.result()]
    [[[3], [7]], [[2.0], [11.0]]]
    """

    def __init__(self, *, width: int, values: int):
        self._keys: list[Ints] = [np.zeros((0, width), np.int64)]
        self._sums: list[Floats] = [np.zeros((0, values))]
        self._settled, self._loose = 0, 0

    def add(self, keys: Ints, values: Floats) -> None:
        """Adds `values` (n, values) under `keys` (n, width); a key may stand in it more than once."""
        found, at = distinct(keys)
        self._keys.append(found)
        self._sums.append(summed(at, values, len(found)))
        self._loose += len(found)
        if self._loose > max(_LOOSE, self._settled):
            self.result()

    def result(self) -> tuple[Ints, Floats]:
        """The keys in ascending order, (k, width), and the sums of each, (k, values)."""
        if len(self._keys) > 1:
            keys, at = distinct(np.concatenate(self._keys))
            self._sums = [summed(at, np.concatenate(self._sums), len(keys))]
            self._keys = [keys]
            self._settled, self._loose = len(keys), 0
        return self._keys[0], self._sums[0]


def distinct(keys: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of `keys` (n, width) in ascending order, and for each row which of them it is."""
    if keys.shape[1] == 1:
        found, at = np.unique(keys[:, 0], return_inverse=True)
        return found[:, None], at
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    at = np.empty(len(keys), np.int64)
    at[order] = np.cumsum(new) - 1
    return ordered[new], at


def summed(at: Ints, values: Floats, size: int) -> Floats:
    """Sums of the rows of `values` (n, v) by their place `at` in 0..size - 1: (size, v)."""
    out = np.zeros((size, values.shape[1]))
    for i, column in enumerate(values.T):
        out[:, i] = np.bincount(at, weights=column, minlength=size)
    return out
