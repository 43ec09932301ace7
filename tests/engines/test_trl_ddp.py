"""Two real processes under DDP: one controller, token-weighted over both ranks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_two_ranks_share_one_controller_weighted_by_tokens(tmp_path):
    worker = Path(__file__).parent / "ddp_worker.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(worker)]
    done = subprocess.run([*launch, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1)]
    assert [r["rank"] for r in ranks] == [0, 1]
    for i in range(2):
        (first, first_tokens, first_state), (second, second_tokens, second_state) = (r["rollouts"][i] for r in ranks)
        assert first_state == second_state
        assert (first, first_tokens) != (second, second_tokens), "both ranks hold the same samples"
        mean = (first + second) / (first_tokens + second_tokens)
        assert ranks[0]["log"][i]["entrostat/entropy"] == pytest.approx(mean, rel=1e-5)
    assert ranks[0]["log"] == ranks[1]["log"]
    last = ranks[0]["log"][-1]
    assert last["entrostat/clip_low"] > 0
    assert 0 < sum(last[f"entrostat/E{i}/share"] for i in range(1, 5)) <= 1 + 1e-6
