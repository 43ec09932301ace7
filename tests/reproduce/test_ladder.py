"""The static threshold of a dynamic one's clip share, read off the ladder."""

import numpy as np
import pytest

from entrostat.reproduce.ladder import DYNAMIC, METHODS, equal, matched

SHARES = {0.2: 0.03, 0.3: 0.02, 0.4: 0.015, 0.5: 0.01}


def rows(dynamic):
    """Rungs of the high side clip SHARES, the dynamic threshold what `dynamic` says by seed; effect: share squared."""
    made = []
    for seed, share in enumerate(dynamic):
        # a method without a static high, or with another low, is on no rung of this side
        taken = [share if method == DYNAMIC["high"] else SHARES[getattr(method, "high", 0.2)] for method in METHODS]
        branches = [[each**2, 0.4, 1e-3, 0.05, 0.0, each, 1.0] for each in taken]
        branches[0][0] = 0.0009
        made.append({"seed": seed, "rollout": 0, "before": 0.0, "branches": branches})
    return made


def test_the_match_is_linear_between_rungs_and_none_beyond_them():
    found = matched(rows([0.025, 0.03, 0.009, 0.031]), "high")
    base = 0.0009
    assert found[:2] == pytest.approx([(0.03**2 + 0.02**2) / 2 - base, 0.03**2 - base])
    assert np.isnan(found[2:]).all()


def test_the_threshold_of_the_same_share():
    assert equal(rows([0.02, 0.03]), "high") == pytest.approx(0.25)
    assert equal(rows([0.0125]), "high") == pytest.approx(0.45)
    assert np.isnan(equal(rows([0.5]), "high"))
