"""bench/gpu.py at toy size on a CPU: all its stages, and that none is done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "gpu.py"


def bench(folder, *more):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *more, "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.mark.slow
def test_the_bench_runs_at_toy_size_and_goes_on_where_it_stopped(tmp_path):
    done = bench(tmp_path / "out", "--toy")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["toy"] is True and result["device"]
    assert list(result["runs"]) == ["grpo", "clip-lower", "id", "thermostat"]
    for run in result["runs"].values():
        assert len(run["entropy"]) == result["size"]["rollouts"]
        assert run["tokens_per_second"] > 0
        assert set(run["pass@k"]) == {"1", "2"} and "mean@2" in run
    # the first rollout, which warms up, is not counted
    assert result["overhead"]["rollouts"] == result["size"]["turns"] * (result["size"]["turn_rollouts"] - 1)
    low, high = result["overhead"]["ratio_95"]
    assert low <= result["overhead"]["ratio"] <= high
    # as if it had been killed behind the first run
    written = (tmp_path / "out" / "warm" / "model.safetensors").stat().st_mtime_ns
    (tmp_path / "out" / "grpo" / "summary.json").unlink()
    again = json.loads(bench(tmp_path / "out", "--toy").stdout)
    assert again == result | {"runs": again["runs"]}
    assert again["runs"]["id"] == result["runs"]["id"]
    assert again["runs"]["grpo"]["entropy"] == result["runs"]["grpo"]["entropy"]
    assert (tmp_path / "out" / "warm" / "model.safetensors").stat().st_mtime_ns == written


def test_without_a_gpu_the_bench_measures_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = bench(tmp_path / "out")
    assert done.returncode == 2 and "--toy" in done.stderr and done.stdout == ""
    assert not (tmp_path / "out").exists()
