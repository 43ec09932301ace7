"""The static threshold of a dynamic one's clip share, read off the ladder."""

import numpy as np
import pytest

from entrostat.reproduce import Mode
from entrostat.reproduce.ladder import matched
from made_up_world import World

SHARES = {0.1: 0.05, 0.2: 0.03, 0.3: 0.02, 0.4: 0.015, 0.5: 0.01}


class OnALadder(World):
    """Rungs of the high side clip SHARES, dynamic runs what `dynamic` says by seed; a statistic: the share squared."""

    def __init__(self, path, dynamic):
        super().__init__(path)
        self.dynamic = dynamic

    def __getitem__(self, job):
        record = super().__getitem__(job)
        share = self.dynamic[job.config.seed] if "dynamic" in job.command else SHARES[job.method.high]
        return record | {"clip_high": [share] * len(record["clip_high"]), "value": share**2}


def test_the_match_is_linear_between_rungs_and_none_beyond_them(tmp_path):
    world = OnALadder(tmp_path, {0: 0.025, 1: 0.05, 2: 0.009})
    found = matched(Mode(), world, "high", lambda record: record["value"])
    assert found[:2] == pytest.approx([(0.03**2 + 0.02**2) / 2, 0.05**2])
    assert np.isnan(found[2])
    assert np.isnan(matched(Mode(), OnALadder(tmp_path, {0: 0.06, 1: 0.02, 2: 0.02}), "high", lambda r: r["value"])[0])
