"""The response map over a stream: what each pair of a grid of thresholds would clip.

It is entrostat.response for a stream: tokens are sorted into the bins between
thresholds instead of among themselves, so only one sum per bin is held. It equals
entrostat.response to the last bit of every comparison
(tests/diagnose/test_attribution.py).
"""

import math

import numpy as np
import torch

from entrostat.diagnose.types import Floats, Ints

# fmt: off
LOWS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
HIGHS = (
    0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.28, 0.4, 0.5, 0.7, 1.0, math.inf,
)
# fmt: on
BINS = len(LOWS) + 1 + len(HIGHS) + 1
"""Bins of `bin_of`: first those of A < 0 by floors 1 - low, ascending, then those of
A > 0 by caps 1 + high, ascending."""
_FIRST_HIGH_BIN = len(LOWS) + 1

# rounded to float32 first: that is how a trainer's float32 ratio compares with a float
_FLOORS = np.array([1 - low for low in reversed(LOWS)], dtype=np.float32)
_CAPS = np.array([1 + high for high in HIGHS], dtype=np.float32)


def bin_of(logratio: np.ndarray, advantages: Floats) -> Ints:
    """The bin of each token, (n,) in 0..BINS - 1.

    Tokens of A = 0 go to a bin that no threshold of the grid clips.

    Args:
        logratio: ln of the ratio that is clipped, float32.
        advantages: their signs say which side can clip the token.
    """
    # torch's exp, as in the loss: numpy's may differ in the last bit
    ratio = torch.from_numpy(np.ascontiguousarray(logratio)).exp().numpy()
    by_floor = np.searchsorted(_FLOORS, ratio, side="right")
    by_cap = _FIRST_HIGH_BIN + np.searchsorted(_CAPS, ratio, side="left")
    low_bin = np.where(advantages < 0, by_floor, len(LOWS))
    return np.where(advantages > 0, by_cap, low_bin).astype(np.int64)


def clipped_sums(bins: Floats) -> tuple[Floats, Floats]:
    """Sums over the tokens that each low and each high of the grid would clip.

    Args:
        bins: sums per bin, (..., BINS).

    Returns:
        (..., LOWS) and (..., HIGHS).

    >>> bins = bin_of(np.log(np.float32([0.5, 2.0])), np.array([-1.0, 1.0]))
    >>> low, high = clipped_sums(np.eye(BINS)[bins])
    >>> [LOWS[i] for i in np.flatnonzero(low[0])][-1]
    0.3
    >>> [HIGHS[i] for i in np.flatnonzero(high[1])][-1]
    0.7
    """
    # floors ascend where lows descend
    under_floor = np.cumsum(bins[..., : len(LOWS)], axis=-1)[..., ::-1]
    high_bins = bins[..., _FIRST_HIGH_BIN:]
    from_top = np.cumsum(high_bins[..., ::-1], axis=-1)[..., ::-1]
    # the first of these bins lies under every cap
    over_cap = from_top[..., 1:]
    return under_floor, over_cap


def predicted(bins: Floats) -> Floats:
    """The sum of change under every pair of thresholds, (..., LOWS, HIGHS).

    Args:
        bins: sums of change per bin as if nothing were clipped, (..., BINS).
    """
    low, high = clipped_sums(bins)
    everything = bins.sum(axis=-1)[..., None, None]
    return everything - low[..., :, None] - high[..., None, :]
