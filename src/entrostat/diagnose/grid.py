"""The response map over a stream: what each pair of clip thresholds of a fixed grid would have taken.

It is entrostat.response, with the tokens sorted into bins between thresholds and not among themselves, so that nothing
is held but one sum a bin; equal to it to the last bit of every comparison (tests/diagnose/test_grid.py).
"""

import math

import numpy as np
import torch

from entrostat.diagnose.sums import Floats, Ints

LOWS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
HIGHS = (
    0.01,
    0.02,
    0.03,
    0.05,
    0.07,
    0.1,
    0.15,
    0.2,
    0.28,
    0.4,
    0.5,
    0.7,
    1.0,
    math.inf,
)
BINS = len(LOWS) + 1 + len(HIGHS) + 1
"""Bins of `bin_of`: those of A < 0 between floors, then those of A > 0 between caps."""

# rounded to float32 first: that is how a float32 ratio compares with a float
_FLOORS = np.array([1 - low for low in reversed(LOWS)], dtype=np.float32)
_CAPS = np.array([1 + high for high in HIGHS], dtype=np.float32)


def bin_of(logratio: np.ndarray, advantages: Floats) -> Ints:
    """The bin of each token, (n,) in 0..BINS - 1. Tokens of A = 0 are in one that no threshold of the grid clips.

    Args:
        logratio: of the ratio that is clipped, float32.
        advantages: their signs decide on the side.
    """
    ratio = torch.from_numpy(np.ascontiguousarray(logratio)).exp().numpy()
    low = np.where(
        advantages < 0, np.searchsorted(_FLOORS, ratio, side="right"), len(LOWS)
    )
    high = len(LOWS) + 1 + np.searchsorted(_CAPS, ratio, side="left")
    return np.where(advantages > 0, high, low).astype(np.int64)


def clipped_sums(bins: Floats) -> tuple[Floats, Floats]:
    """Of sums a bin, (..., BINS), those over the tokens that are clipped: (..., LOWS) by low and (..., HIGHS) by high.

    >>> low, high = clipped_sums(np.eye(BINS)[bin_of(np.log(np.float32([0.5, 2.0])), np.array([-1.0, 1.0]))])
    >>> [LOWS[i] for i in np.flatnonzero(low[0])][-1], [HIGHS[i] for i in np.flatnonzero(high[1])][-1]
    (0.3, 0.7)
    """
    under = np.cumsum(bins[..., : len(LOWS)], axis=-1)[..., ::-1]
    over = bins[..., len(LOWS) + 1 :]
    from_top = np.cumsum(over[..., ::-1], axis=-1)[..., ::-1]
    return under, from_top[..., 1:]


def predicted(bins: Floats) -> Floats:
    """Sum of change at every pair of thresholds, (..., LOWS, HIGHS), of the change a bin as if nothing were clipped."""
    low, high = clipped_sums(bins)
    return bins.sum(axis=-1)[..., None, None] - low[..., :, None] - high[..., None, :]
