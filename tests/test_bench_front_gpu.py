"""bench/front_gpu.py at toy size: with torch, safetensors and numpy alone, whole, and again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench_scripts import load
from test_bench_regime_gpu import ALONE, HEAVY

SCRIPT = Path(__file__).parents[1] / "bench" / "front_gpu.py"
CODE = ALONE.format(words=HEAVY | {"trl", "tyro", "huggingface_hub", "pyarrow"}, script=str(SCRIPT))
METHODS = ("grpo", "clip-lower 0.05", "thermostat", "mai", "stare")


def bench(folder):
    command = [sys.executable, "-c", CODE, "--out", str(folder), "--toy"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    done = bench(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_run_is_scored_at_every_temperature(whole):
    lines = [json.loads(line) for line in (whole / "scores.jsonl").read_text().splitlines()]
    places = {(x["rate"], x["arm"], x["seed"], x["split"], x["temperature"]) for x in lines}
    assert len(places) == len(lines) == 2 * len(METHODS) * 2 * 2 * 3
    for line in lines:
        assert len(line["correct"]) == 4
        assert all(0 <= count <= 32 for count in line["correct"])
        assert line["entropy"] > 0


def test_the_table_has_a_row_per_method_with_its_own_mean(whole):
    text = (whole / "front-gpu.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(tuple(f"| {name}" for name in METHODS))]
    assert [row[0].removeprefix("| ") for row in rows] == list(METHODS)
    found = load("front_gpu").read(whole / "scores.jsonl")
    for row in rows:
        name, rate, temperature = row[0].removeprefix("| "), float(row[1]), float(row[2])
        correct = [found[rate, name, seed, 2, "test", temperature]["correct"] for seed in (0, 1)]
        assert float(row[4].split()[0]) == pytest.approx(sum(map(sum, correct)) / (2 * 4 * 32), abs=5e-4)


def test_a_whole_bench_is_not_run_again(whole):
    before = (whole / "scores.jsonl").read_text()
    assert bench(whole).returncode == 0
    assert (whole / "scores.jsonl").read_text() == before
