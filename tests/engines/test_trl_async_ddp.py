"""Two real processes under DDP: one controller, token-weighted over both ranks, the same as one process has."""

import async_ddp_worker
import pytest
from test_trl_ddp import launched


def test_two_ranks_share_one_controller_which_is_that_of_one_process(tmp_path):
    first, second = launched("async_ddp_worker.py", tmp_path)
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["state"] == second["state"] and first["log"][-1]["entrostat/pressure"] > 0
    assert first["tokens"] != second["tokens"], "both ranks hold the same samples"
    one = async_ddp_worker.run(tmp_path / "one", 1)
    assert [a + b for a, b in zip(first["tokens"], second["tokens"], strict=True)] == one["tokens"]
    for field, value in one["state"].items():
        assert first["state"][field] == pytest.approx(value, rel=1e-4), field
    assert first["weight"] == pytest.approx(one["weight"], rel=1e-6)
    for mine, other, alone in zip(first["log"], second["log"], one["log"], strict=True):
        assert mine == other
        # a clip event may fall on the other side where a pass rounds otherwise
        assert mine == pytest.approx(alone, rel=1e-3, abs=5e-3)
