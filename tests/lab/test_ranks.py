"""`entrostat train` over the two ranks of `accelerate launch`, on gloo: one run, one controller, one folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from entrostat import dump
from entrostat.lab.config import TrainConfig
from entrostat.lab.ranks import Ranks
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

HERE = Path(__file__).parent
# the way to several processes without a GPU: accelerate's --cpu starts one
TWO = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
TWO += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
SMALL = [
    *("--prompts", "4", "--samples", "4", "--updates-per-rollout", "2"),
    *("--eval-problems", "4", "--eval-samples", "4", "--save-every", "2", "--map-every", "1"),
]


def started(launch, folder, *args):
    command = [*launch, str(HERE / "rank_worker.py"), str(folder), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def run(launch, folder, *args):
    process = started(launch, folder, *args)
    out, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    return out, err


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same run over two ranks and in one process: their folders and what the two said."""
    found = {}
    for name, launch in (("two", TWO), ("one", [sys.executable])):
        folder = tmp_path_factory.mktemp(name)
        args = ["--steps", "3", "--dump-every", "1", "--probe-every", "2", "--out", "run", "--json", "thermostat"]
        found[name] = (folder, *run(launch, folder, "train", *SMALL, *args))
    return found


def test_both_ranks_observe_the_same_entropy_weighted_by_tokens(both):
    folder, *_ = both["two"]
    first, second = (lines(folder / f"rank{rank}.jsonl") for rank in (0, 1))
    assert len(first) == len(second) == 3
    metrics = lines(folder / "run" / "metrics.jsonl")
    for a, b, logged in zip(first, second, metrics, strict=True):
        assert a["sum"] != b["sum"], "both ranks hold the same samples"
        mean = (a["sum"] + b["sum"]) / (a["tokens"] + b["tokens"])
        for seen in (a["entropy"], b["entropy"], logged["entropy"]):
            assert seen == pytest.approx(mean, abs=1e-6)
        assert a["state"] == b["state"]


def test_the_metrics_are_those_of_the_whole_rollout(both):
    folder, *_ = both["two"]
    rows = pa.Table.from_batches(list(dump.read(folder / "run" / "dump"))).to_pylist()
    maps = lines(folder / "run" / "response.jsonl")
    for line, one in zip(lines(folder / "run" / "metrics.jsonl"), maps, strict=True):
        mine = [row for row in rows if row["step"] == line["step"]]
        assert sorted(row["sample"] for row in mine) == list(range(16))
        assert line["reward"] == pytest.approx(sum(row["reward"] for row in mine) / 16, abs=1e-6)
        sides = [side for row in mine for side in row["clipped"]]
        assert line["clip_low"] == pytest.approx(sides.count(-1) / len(sides), abs=1e-6)
        changes = sum(line[f"E{i}/change_{what}"] for i in range(1, 5) for what in ("kept", "clipped"))
        assert one["total_unclipped"] == pytest.approx(changes, rel=1e-5, abs=1e-8)


def test_what_does_not_hang_on_the_sampler_is_as_in_one_process(both):
    (two, *_), (one, *_) = both["two"], both["one"]
    for name in ("scores-start.json", "config.json"):
        mine, theirs = (json.loads((folder / "run" / name).read_text()) for folder in (two, one))
        assert {k: v for k, v in mine.items() if k != "command"} == {k: v for k, v in theirs.items() if k != "command"}
    assert lines(two / "run/metrics.jsonl")[0]["held_out_entropy"] == pytest.approx(
        lines(one / "run/metrics.jsonl")[0]["held_out_entropy"], abs=1e-12
    )
    prompts = [
        sorted(
            (row["step"], row["group"], row["prompt"])
            for batch in dump.read(f / "run/dump")
            for row in batch.to_pylist()
        )
        for f in (two, one)
    ]
    assert prompts[0] == prompts[1]
    assert {p.name for p in (two / "run").iterdir()} == {p.name for p in (one / "run").iterdir()}


def test_rank_0_alone_speaks(both):
    _, out, err = both["two"]
    assert json.loads(out)["label"] == "thermostat"
    assert err.count("thermostat: scoring 4 held-out problems") == 2
    assert err.count("report:") == 1


def after(folder, process, rollouts):
    """Waits for so many rollouts of the run, then presses Ctrl-C."""
    while process.poll() is None:
        path = folder / "run" / "metrics.jsonl"
        if path.is_file() and len(path.read_text().splitlines()) >= rollouts:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.1)
    _, err = process.communicate()
    assert "stopped; to go on: entrostat train --resume" in err, err[-3000:]


@pytest.mark.slow
def test_a_run_with_a_critic_goes_from_two_processes_to_one_and_back(tmp_path):
    new = ["train", *SMALL, "--steps", "60", "--advantage", "gae", "--out", "run", "thermostat"]
    after(tmp_path, started(TWO, tmp_path, *new), 1)
    resume = ["train", "--resume", "run"]
    done = json.loads((tmp_path / "run/state.json").read_text())
    after(tmp_path, started([sys.executable], tmp_path, *resume), len(lines(tmp_path / "run/metrics.jsonl")) + 1)
    assert done != json.loads((tmp_path / "run/state.json").read_text())
    after(tmp_path, started(TWO, tmp_path, *resume), len(lines(tmp_path / "run/metrics.jsonl")) + 1)
    steps = len(lines(tmp_path / "run/metrics.jsonl"))
    assert [line["step"] for line in lines(tmp_path / "run/metrics.jsonl")] == list(range(steps))
    first, second = (lines(tmp_path / f"rank{rank}.jsonl") for rank in (0, 1))
    # each rollout was observed once: nothing was made twice, and no state began anew
    assert [seen["state"]["state"]["rollouts"] for seen in first] == list(range(1, steps + 1))
    of_two = [seen["state"]["state"]["rollouts"] for seen in second]
    assert 2 <= len(of_two) < steps
    assert all(first[n - 1]["state"] == seen["state"] for n, seen in zip(of_two, second, strict=True))
    for n, seen in zip(of_two, second, strict=True):
        assert first[n - 1]["entropy"] == pytest.approx(seen["entropy"], abs=1e-6)


@pytest.mark.slow
def test_a_rank_waits_longer_than_the_timeout_of_training_and_hears_of_errors(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, str(HERE / "waiting_worker.py"), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["value"] == second["value"] == "scores of 0"
    assert (first["error"], second["error"]) == ("ValueError", "ElsewhereError")
    assert (first["lock"], second["lock"]) == (["held", "let go"], [])
    assert (first["any"], second["any"]) == ([True, False], [True, False])
    assert (first["tokens"], second["tokens"]) == ([0.0, 1.0], None)


def test_what_does_not_divide_is_refused_and_so_is_a_sharded_model(monkeypatch):
    config = TrainConfig(prompts=4, samples=4, updates_per_rollout=2)
    assert [Ranks(0, n).share(config) for n in (1, 2, 4)] == [8, 4, 2]
    with pytest.raises(ValueError, match=r"3 processes cannot share the 8 completions"):
        Ranks(0, 3).share(config)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert Ranks().share(config) == 8
    with pytest.raises(ValueError, match="FSDP"):
        Ranks(1, 2).share(config)


@pytest.mark.parametrize("reward", ["normal", "bernoulli:0.5"])
def test_random_rewards_of_the_ranks_are_together_those_of_one_process(reward):
    state = type("State", (), {"global_step": 8})
    task = make_task("countdown")
    drawn = lambda n, *place: make_reward(reward, task, 5, *place)([""] * n, [""] * n, trainer_state=state)  # noqa: E731
    assert drawn(2, 0, 3) + drawn(2, 1, 3) + drawn(2, 2, 3) == drawn(6)
    assert len(set(drawn(6))) > 1


def test_accelerate_that_has_started_one_process_of_several_is_told():
    env = {**os.environ, "ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", "entrostat", "train", "--model", "./gone", "grpo"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert "started one process" in done.stderr
    assert "there is no such folder" in done.stderr
