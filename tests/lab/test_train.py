"""`entrostat train` through the real command: a run's folder, equal runs, kills, Ctrl-C and resuming."""

import json
import math
import os
import signal
import subprocess
import sys

import pytest

KEYS = {"step", "progress", "entropy", "target", "reward", "clip_low", "clip_high"}
REGION_KEYS = {f"{r}/{k}" for r in ("E1", "E2", "E3", "E4") for k in ("share", "change_kept", "change_clipped")}


def test_a_run_writes_its_folder(command):
    done = command.run("train", *command.small, "--out", "run", "--json", "clip-lower", "--low", "0.05")
    lines = command.lines("run")
    assert [line["step"] for line in lines] == list(range(6))
    for line in lines:
        assert line.keys() >= KEYS | REGION_KEYS
        assert line["progress"] == line["step"] / 6
        assert 0 < line["entropy"] < math.log(25)
        assert 0 <= sum(line[f"E{i}/share"] for i in range(1, 5)) <= 1 + 1e-6
    assert {line["clip_high"] for line in lines} == {0.0}
    assert [line["step"] for line in command.lines("run", "timing.jsonl")] == list(range(6))
    config = json.loads(command.bytes("run", "config.json"))
    assert config["strategy"] == {"name": "clip-lower", "options": {"low": 0.05, "high": "inf"}}
    summary = json.loads(command.bytes("run", "summary.json"))
    for key in ("mean@4", "pass@4"):
        assert summary[key]["low"] <= summary[key]["value"] <= summary[key]["high"]
    assert summary["entropy_start"] > 0
    assert summary["entropy_end"] > 0
    result = json.loads(done.stdout)
    assert result["mean@4"] == summary["mean@4"]
    assert (command.folder / "run" / "report.html").stat().st_size > 1e6
    scored = command.run("evaluate", "run/checkpoint", "--problems", "4", "--samples", "4", "--json")
    assert json.loads(scored.stdout)["correct"] == summary["correct"]


@pytest.mark.slow
def test_equal_seeds_give_equal_runs_and_others_do_not(command):
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        command.run("train", *command.small, "--seed", seed, "--out", folder, "--reward", "bernoulli:0.5", "od")
    assert command.bytes("a") == command.bytes("b")
    assert command.bytes("a") != command.bytes("c")
    weights = [command.bytes(f, "checkpoint/model.safetensors") for f in ("a", "b", "c")]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("strategy", [("grpo",), ("clip-lower", "--low", "0.02")])
def test_the_response_map_holds_what_was_kept_at_the_pair_in_force(command, strategy):
    # fast enough that both sides clip, and no group without an advantage
    pace = ("--learning-rate", "3e-4", "--updates-per-rollout", "8", "--prompts", "8", "--reward", "normal")
    command.run("train", *command.small, *pace, "--map-every", "2", "--out", "run", *strategy)
    maps = command.lines("run", "response.jsonl")
    assert [one["step"] for one in maps] == [0, 2, 4]
    for one in maps:
        line = command.lines("run")[one["step"]]
        kept, clipped = (sum(line[f"E{i}/change_{what}"] for i in range(1, 5)) for what in ("kept", "clipped"))
        low, high = one["in_force"]["low"], one["in_force"]["high"]
        row = [abs(x - low) < 1e-6 for x in one["lows"]].index(True)
        # null where no half-width is finite: that of clip-lower
        column = one["highs"].index("inf" if high is None else pytest.approx(high, rel=1e-6))
        assert (high is None) == (strategy[0] == "clip-lower")
        assert len(one["change"]) == len(one["lows"]) and len(one["change"][0]) == len(one["highs"])
        at = one["change"][row][column]
        assert at == pytest.approx(kept, rel=1e-5, abs=1e-8)
        assert at == pytest.approx(one["predicted"], rel=1e-12)
        assert one["total_unclipped"] == pytest.approx(kept + clipped, rel=1e-5, abs=1e-8)
        unclipped = one["change"][one["lows"].index(1.0)][one["highs"].index("inf")]
        assert unclipped == pytest.approx(one["total_unclipped"], rel=1e-12)
    assert any(one["predicted"] != one["total_unclipped"] for one in maps)


@pytest.mark.slow
def test_maps_can_be_left_out_and_change_nothing(command):
    command.run("train", *command.small, "--map-every", "0", "--out", "none", "grpo")
    command.run("train", *command.small, "--map-every", "1", "--out", "all", "grpo")
    assert command.bytes("none", "response.jsonl") == b""
    assert len(command.lines("all", "response.jsonl")) == 6
    for name in ("metrics.jsonl", "checkpoint/model.safetensors"):
        assert command.bytes("none", name) == command.bytes("all", name)
    assert (
        command.run("train", "--map-every", "-1", "grpo", code=2)
        .stderr.strip()
        .endswith("--map-every must be at least 0, got -1")
    )


def test_a_run_killed_again_and_again_resumes_to_the_same_metrics(command):
    options = [*command.small, "--reward", "normal", "--map-every", "1"]
    command.run("train", *options, "--out", "whole", "od")
    command.kill("train", *options, "--out", "killed", "od", when="killed/metrics.jsonl", size=2000)
    command.kill("train", "--resume", "killed", when="killed/trainer/checkpoint-8/model.safetensors")
    command.kill("train", "--resume", "killed", when="killed/scores-end.json")
    command.run("train", "--resume", "killed")
    assert command.bytes("killed") == command.bytes("whole")
    for name in ("response.jsonl", "checkpoint/model.safetensors", "scores-end.json"):
        assert command.bytes("killed", name) == command.bytes("whole", name)
    states = [json.loads(command.bytes(f, "state.json"))["payload"] for f in ("killed", "whole")]
    assert states[0]["controller"] == states[1]["controller"]


@pytest.mark.slow
def test_looking_at_a_run_moves_nothing_in_it(command):
    """Held-out entropy and scores on the way: the same rollouts, the same controller, the same weights."""
    command.run("train", *command.small, "--out", "plain", "thermostat")
    command.run("train", *command.small, "--probe-every", "2", "--eval-at", "2", "4", "--out", "watched", "thermostat")
    looked = command.lines("watched")
    assert [line["step"] for line in looked if "held_out_entropy" in line] == list(range(0, len(looked), 2))
    assert [{k: v for k, v in line.items() if k != "held_out_entropy"} for line in looked] == command.lines("plain")
    for name in ("checkpoint/model.safetensors", "scores-end.json"):
        assert command.bytes("watched", name) == command.bytes("plain", name)
    first, second = (json.loads(command.bytes("watched", f"scores-{n}.json")) for n in (2, 4))
    assert first["samples"] == second["samples"]
    assert not (command.folder / "plain" / "scores-2.json").exists()


@pytest.mark.slow
def test_ctrl_c_stops_after_the_rollout_and_says_how_to_go_on(command):
    command.run("train", *command.small, "--out", "whole", "id")
    process = command.start("train", *command.small, "--out", "stopped", "id")
    command.wait_for(process, "stopped/metrics.jsonl")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert log.strip().splitlines()[-1] == "entrostat: stopped; to go on: entrostat train --resume stopped"
    assert not (command.folder / "stopped" / "summary.json").exists()
    assert len(command.lines("stopped")) < 6
    command.run("train", "--resume", "stopped")
    assert command.bytes("stopped") == command.bytes("whole")


@pytest.mark.slow
def test_without_a_method_three_runs_go_side_by_side_and_stand_in_one_table(command):
    done = command.run("train", *command.small, "--out", "demo")
    rows = [line for line in done.stdout.splitlines() if "│" in line]
    names = ["grpo", "clip-lower low 0.02", "thermostat target 0.8x hold both"]
    assert [row.split("│")[1].strip() for row in rows] == ["base model", *names]
    # the workers say what they do; on a busy machine a rollout's line may come before the worker's own
    for name in names:
        said = [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ")]
        assert [line for line in said if "rollout" in line] == [line for line in said if "scoring" not in line]
        assert sorted("scoring" in line for line in said) == [False, False, True, True], said
        assert [line.split("rollout ")[1].split()[0] for line in said if "rollout" in line] == ["1/6", "6/6"], said
    assert (command.folder / "demo" / "report.html").exists()
    again = command.run("train", "--resume", "demo", "--json")
    assert [row["label"] for row in json.loads(again.stdout)] == names


@pytest.mark.slow
def test_a_run_side_by_side_is_the_run_alone(command):
    command.run("train", *command.small, "--out", "demo")
    command.run("train", *command.small, "--out", "alone", "grpo")
    assert command.bytes("demo/1-grpo") == command.bytes("alone")


def test_a_run_in_training_is_not_trained_twice(command):
    process = command.start("train", *command.small, "--out", "run", "grpo")
    command.wait_for(process, "run/metrics.jsonl")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        other = command.run("train", "--resume", "run", code=2)
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.communicate()
    assert other.stderr.strip() == "entrostat: run is being trained by another process: wait for it, or stop it"


def test_a_finished_run_resumes_to_its_own_result(command):
    first = command.run("train", *command.small, "--out", "run", "--json", "grpo")
    before = command.bytes("run"), command.bytes("run", "summary.json")
    second = command.run("train", "--resume", "run", "--json")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert (command.bytes("run"), command.bytes("run", "summary.json")) == before


@pytest.mark.slow
def test_a_disk_that_refuses_is_one_line_and_the_run_resumes(command):
    """A limit on the size of files stands for the full disk: the kernel refuses the same writes."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
    code = limit + "from entrostat.cli import main; sys.exit(main(sys.argv[1:]))"
    start = [sys.executable, "-c", code, "train", *command.small, "--out", "run", "grpo"]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("entrostat: run: the disk takes no more (")
    assert last.endswith("free some space, then entrostat train --resume run")
    assert "Traceback" not in done.stderr
    command.run("train", "--resume", "run")
    command.run("train", *command.small, "--out", "whole", "grpo")
    assert command.bytes("run") == command.bytes("whole")


@pytest.mark.slow
def test_random_rewards_are_blind_and_of_the_stated_kind(command):
    for reward, low, high in (("bernoulli:0.9", 0.75, 1.0), ("normal", -0.6, 0.6)):
        command.run("train", *command.small, "--out", reward[:6], "--reward", reward, "grpo")
        rewards = [line["reward"] for line in command.lines(reward[:6])]
        assert low < sum(rewards) / len(rewards) < high
        assert len(set(rewards)) > 1
