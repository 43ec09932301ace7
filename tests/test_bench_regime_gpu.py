"""bench/regime_gpu.py at toy size: with torch, safetensors and numpy alone, killed, stopped, short of memory."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench_scripts import load
from entrostat.reproduce.page import gpu_section

SCRIPT = Path(__file__).parents[1] / "bench" / "regime_gpu.py"
BLOCKS = ["random at 2.5e-05", "paired at 2.5e-05", "true at 2.5e-05", "random at 0.0001", "paired at 0.0001"]
ARMS = {"random": 4, "paired": 7, "true": 7}
SEEDS = ROLLOUTS = 2
ALONE = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {words}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = [{script!r}, *sys.argv[1:]]
runpy.run_path({script!r}, run_name="__main__")
"""
HEAVY = {"accelerate", "beartype", "datasets", "jaxtyping", "rich", "scipy", "tokenizers", "transformers"}
CODE = ALONE.format(words=HEAVY | {"trl", "tyro", "huggingface_hub", "pyarrow"}, script=str(SCRIPT))


def command(folder, *more):
    return [sys.executable, "-c", CODE, "--out", str(folder), *more]


def bench(folder, *more):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(folder, *more), capture_output=True, text=True, env=env)


def rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def arms(folder):
    blocks = json.loads((folder / "summary.json").read_text())["blocks"]
    return {name: block["arms"] for name, block in blocks.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    done = bench(folder, "--toy")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.endswith("all blocks are whole\n")
    return folder


@pytest.fixture
def script():
    """The bench as a module of this process."""
    return load("regime_gpu")


def test_there_is_a_line_a_run_and_rollout(whole):
    found = rows(whole)
    for block in BLOCKS:
        mine = [row for row in found if row["block"] == block]
        assert len(mine) == ARMS[block.split()[0]] * SEEDS * ROLLOUTS
        assert len({(row["arm"], row["seed"], row["rollout"]) for row in mine}) == len(mine)
    for row in found:
        assert row["entropy"] > 0 and row["rms"] > 0 and 0 <= row["reward"] <= 1
        assert row["clip_low"] == 0 or row["arm"] not in ("none", "high 0.2 alone", "1/0.2")
        assert row["clip_high"] == 0 or row["arm"] not in ("none", "low 0.2 alone", "0.2/inf", "0.15/inf")
    assert not any((whole / "checkpoints").iterdir())


def test_runs_of_one_seed_differ_by_their_clip_alone(whole):
    first = [row for row in rows(whole) if row["rollout"] == 0 and not row["block"].startswith("paired")]
    for block in BLOCKS:
        for seed in range(SEEDS):
            mine = [row for row in first if row["block"] == block and row["seed"] == seed]
            assert len({(row["entropy"], row["reward"]) for row in mine}) == (1 if mine else 0)
    assert len({row["entropy"] for row in first}) == SEEDS, "seeds have prompts and samples of their own"


def test_the_summary_is_made_of_the_lines(whole):
    found = {(row["block"], row["arm"], row["seed"], row["rollout"]): row for row in rows(whole)}
    block = "random at 2.5e-05"
    change = lambda arm, seed: math.log(found[block, arm, seed, 1]["entropy"] / found[block, arm, seed, 0]["entropy"])  # noqa: E731
    arm = arms(whole)[block]["low 0.2 alone"]
    assert arm["change"]["points"] == pytest.approx([change("low 0.2 alone", seed) for seed in range(SEEDS)])
    wanted = [change("low 0.2 alone", seed) - change("none", seed) for seed in range(SEEDS)]
    assert arm["difference"]["points"] == pytest.approx(wanted)
    assert arm["difference"]["low"] is None, "two seeds have no interval"
    block = "paired at 0.0001"
    at = lambda arm: [  # noqa: E731
        statistics.fmean(
            found[block, arm, seed, k]["log_entropy"] - found[block, "none", seed, k]["log_entropy"]
            for k in range(ROLLOUTS)
        )
        for seed in range(SEEDS)
    ]
    low, high = at("low 0.0125 alone"), at("high 0.0125 alone")
    odd = [(a - b) / 2 for a, b in zip(low, high, strict=True)]
    assert arms(whole)[block]["odd part of 0.0125"]["effect"]["points"] == pytest.approx(odd)
    assert arms(whole)[block]["high 0.0125 alone"]["effect"]["value"] == pytest.approx(statistics.fmean(high))


def test_the_claims_page_can_show_it(whole):
    found = json.loads((whole / "regime-gpu.json").read_text())
    assert len(found) == 2 * (4 + 13) + 7
    page = gpu_section(found)
    assert page.count("\n| ") == len(found) + 1
    odd = next(row for row in found if row["arm"] == "odd part of 0.2, paired branches")
    assert odd["reward"] == "bernoulli:0.5, learning rate 2.5e-05" and odd["seeds"] == SEEDS and odd["low"] is None


@pytest.mark.slow
def test_a_killed_bench_goes_on_to_the_same_numbers(whole, tmp_path):
    folder = tmp_path / "out"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command(folder, "--toy", "--save-every", "1"), stderr=subprocess.DEVNULL, env=env)
    file = folder / "rows.jsonl"
    while running.poll() is None and not (file.is_file() and '"block": "true' in file.read_text()):
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert len(file.read_text().splitlines()) < len(rows(whole))
    done = bench(folder, "--toy", "--save-every", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert rows(folder) == rows(whole) and arms(folder) == arms(whole)


@pytest.mark.slow
def test_a_bench_without_memory_keeps_what_it_has(whole, tmp_path, script, monkeypatch, capsys):
    """It stops in the middle of a block, and goes on in batches of another size."""
    folder, step = tmp_path / "out", script.Walk.step

    def short(walk):
        if walk.block.kind == "true" and walk.rollout == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")
        return step(walk)

    monkeypatch.setattr(script.Walk, "step", short)
    options = ["--out", str(folder), "--toy", "--save-every", "1"]
    assert script.main(options) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--at-once" in said and "--prompts" in said and "2.00 GiB" in said and "More lines" not in said
    assert set(arms(folder)) == set(BLOCKS[:2])
    monkeypatch.setattr(script.Walk, "step", step)
    assert script.main([*options, "--at-once", "3"]) == 0
    for mine, wanted in zip(rows(folder), rows(whole), strict=True):
        assert (mine.pop("block"), mine.pop("arm")) == (wanted.pop("block"), wanted.pop("arm"))
        assert mine == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_the_clock_stops_it_between_rollouts(whole, tmp_path, script, monkeypatch, capsys):
    folder, now = tmp_path / "out", [0.0]

    def clock():  # a rollout takes two looks or more
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(script, "clock", clock)
    options = ["--out", str(folder), "--toy", "--minutes"]
    assert script.main([*options, "0.2"]) == 0  # 12 looks
    assert "the same command goes on" in capsys.readouterr().err
    assert 0 < len(rows(folder)) < len(rows(whole))
    before = rows(folder)
    assert script.main([*options, "0"]) == 0
    assert rows(folder) == before
    assert script.main([*options, "100"]) == 0
    assert sorted(map(json.dumps, rows(folder))) == sorted(map(json.dumps, rows(whole)))


def test_a_block_whose_checkpoint_is_gone_stays_as_it_is(tmp_path, script, monkeypatch, capsys):
    folder = tmp_path / "out"
    options = ["--out", str(folder), "--toy", "--blocks", "random"]
    monkeypatch.setattr(script, "clock", iter(range(10**6)).__next__)
    script.main([*options, "--minutes", "0.2"])
    kept = rows(folder)
    assert kept
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    assert script.main([*options, "--minutes", "100"]) == 0
    assert "its checkpoint is gone" in capsys.readouterr().err
    assert rows(folder)[: len(kept)] == kept


def test_another_size_is_refused(whole):
    done = bench(whole, "--toy", "--prompts", "8")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "another --out" in done.stderr
    done = bench(whole, "--toy", "--updates", "3")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--updates 3" in done.stderr


def test_without_a_gpu_it_measures_nothing(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = bench(tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--toy" in done.stderr
    assert not (tmp_path / "out").exists()
