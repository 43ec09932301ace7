"""Two real processes under DDP: one controller, token-weighted over both ranks."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import reference
from entrostat import dump


def launched(worker, folder):
    """What the two ranks of a worker have written."""
    path = Path(__file__).parent / worker
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(path)]
    done = subprocess.run([*launch, str(folder)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_two_ranks_share_one_controller_weighted_by_tokens(tmp_path):
    ranks = launched("ddp_worker.py", tmp_path)
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
    parts = [f"step-00000{step}-rank00{rank}.parquet" for step in (0, 1) for rank in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "dump").iterdir()) == parts
    rows = pa.Table.from_batches(list(dump.read(tmp_path / "dump"))).to_pylist()
    for step, line in enumerate(ranks[0]["log"]):
        both = [row for row in rows if row["step"] == step]
        assert sorted(row["sample"] for row in both) == list(range(64))
        assert all(len({row["prompt"] for row in both if row["group"] == g}) == 1 for g in range(16))
        by_sample = sorted(both, key=lambda row: row["sample"])
        want = reference.group_advantages([row["reward"] for row in by_sample], 4, "group")
        assert [row["advantages"][0] for row in by_sample] == pytest.approx(want, abs=1e-5)
        sides = [side for row in both for side in row["clipped"]]
        assert line["entrostat/clip_low"] == pytest.approx(sides.count(-1) / len(sides), rel=1e-6)
        assert line["entrostat/clip_high"] == pytest.approx(sides.count(1) / len(sides), rel=1e-6)
        entropy = [h for row in both for h in row["old_entropy"]]
        assert line["entrostat/entropy"] == pytest.approx(sum(entropy) / len(entropy), rel=1e-5)


@pytest.mark.slow
def test_ranks_that_differ_make_as_many_passes_and_one_may_log_alone(tmp_path):
    long, short = launched("ddp_uneven_worker.py", tmp_path)
    assert min(long["widths"]) > max(short["widths"]) == 3
    assert long["sums"] == short["sums"] > 0
    assert long["scored"] == short["scored"]
    own, *joint = long["log"]
    assert own["own"] == 1.0
    # what rank 0 logged alone are means over both ranks, of the updates before it
    assert sum(own[f"entrostat/E{i}/share"] for i in range(1, 5)) > 0
    assert own["entrostat/value_loss"] > 0
    assert joint[1] == short["log"][1]
    tokens = [line["entrostat/entropy"] for line in (own, joint[1])]
    assert tokens == [line["entrostat/entropy"] for line in short["log"]]
