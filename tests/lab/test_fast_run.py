"""`entrostat train --engine fast` through the real command: the folder of a TRL run, made by the lab's own loop."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from entrostat.engines.controller import Controller
from entrostat.engines.qwen2 import load_model
from entrostat.lab import fast_run
from entrostat.lab.config import TrainConfig
from entrostat.lab.environment import graded, lab_environment
from entrostat.lab.evaluate import sample
from entrostat.lab.load import load_tokenizer
from entrostat.lab.run import Run
from entrostat.strategies import make_strategy

FAST = ("--engine", "fast")
RESULTS = ("metrics.jsonl", "response.jsonl", "scores-end.json", "checkpoint/model.safetensors")


def bytes_of(command, folder):
    return {name: command.bytes(folder, name) for name in RESULTS}


@pytest.mark.parametrize("method", [("clip-lower", "--low", "0.05"), ("thermostat",), ("objective:kl-cov",)])
def test_its_folder_has_what_a_run_of_trl_s_has(command, method):
    command.run("train", *command.small, "--map-every", "2", "--out", "trl", *method)
    done = command.run("train", *command.small, *FAST, "--map-every", "2", "--out", "fast", "--json", *method)
    trl, fast = command.lines("trl"), command.lines("fast")
    assert [line["step"] for line in fast] == list(range(6))
    for ours, theirs in zip(fast, trl, strict=True):
        assert ours.keys() - theirs.keys() == {"logratio_rms"}
        assert not theirs.keys() - ours.keys()
    assert [one["step"] for one in command.lines("fast", "response.jsonl")] == [0, 2, 4]
    names = {path.name for path in (command.folder / "trl").iterdir()}
    assert {path.name for path in (command.folder / "fast").iterdir()} == names - {"trainer"} | {"trainer"}
    scored = command.run("evaluate", "fast/checkpoint", "--problems", "4", "--samples", "4", "--json")
    known = json.loads(done.stdout)
    assert json.loads(scored.stdout)["samples"] == known["samples"]
    config = json.loads((command.folder / "fast" / "config.json").read_text())
    assert config["engine"] == "fast"


def test_its_sampler_is_the_model_s(command):
    """Entropy of the same policy by the fast sampler and by transformers' generate."""
    environment, folder = lab_environment("countdown")
    prompts = [problem.prompt for problem in environment.task.problems(64, split="test", seed=1)]
    fast = fast_run.drawing(load_model(folder), environment)
    for temperature in (1.0, 0.5):
        ours = fast(prompts, 32, temperature, 0)
        theirs = sample(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            load_tokenizer(TrainConfig()),
            prompts,
            samples=32,
            max_completion=environment.task.max_completion,
            temperature=temperature,
        )
        assert ours.entropy == pytest.approx(theirs.entropy, rel=0.03)
        assert len(ours.texts) == len(theirs.texts) == 64 * 32


def test_equal_seeds_give_equal_runs_and_others_do_not(command):
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        command.run("train", *command.small, *FAST, "--seed", seed, "--out", folder, "--reward", "normal", "od")
    a, b, c = (bytes_of(command, folder) for folder in "abc")
    assert a == b
    assert a["metrics.jsonl"] != c["metrics.jsonl"]


def test_looking_at_a_run_moves_nothing_in_it(command):
    look = ("--probe-every", "2", "--eval-at", "2", "4", "--map-every", "0", "--attribution-share", "0")
    command.run("train", *command.small, *FAST, "--out", "plain", "thermostat")
    command.run("train", *command.small, *FAST, *look, "--out", "watched", "thermostat")
    plain, watched = bytes_of(command, "plain"), bytes_of(command, "watched")
    for name in ("scores-end.json", "checkpoint/model.safetensors"):
        assert watched[name] == plain[name]
    assert [line["step"] for line in command.lines("watched") if "held_out_entropy" in line] == [0, 2, 4]


def test_a_run_killed_again_and_again_resumes_to_the_same_results(command):
    stale = ["--staleness", "2", "--staleness-mixed"]
    options = [*command.small, *FAST, *stale, "--reward", "normal", "--map-every", "1"]
    command.run("train", *options, "--out", "whole", "od")
    command.kill("train", *options, "--out", "killed", "od", when="killed/config.json")
    command.kill("train", "--resume", "killed", when="killed/metrics.jsonl", size=3000)
    command.kill("train", "--resume", "killed", when="killed/scores-end.json")
    command.run("train", "--resume", "killed")
    assert bytes_of(command, "killed") == bytes_of(command, "whole")


def test_ctrl_c_stops_after_the_rollout_and_the_run_goes_on_with_its_states(command):
    command.run("train", *command.small, *FAST, "--out", "whole", "objective:entropic")
    process = command.start("train", *command.small, *FAST, "--out", "stopped", "objective:entropic")
    command.wait_for(process, "stopped/metrics.jsonl")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert log.strip().splitlines()[-1] == "entrostat: stopped; to go on: entrostat train --resume stopped"
    command.run("train", "--resume", "stopped")
    assert bytes_of(command, "stopped") == bytes_of(command, "whole")


def test_stale_rollouts_are_those_of_an_older_policy(command):
    """Of staleness 2 the first three rollouts are the base model's, whatever the updates have done meanwhile."""
    for folder, rate in (("still", "1e-12"), ("moved", "1e-3")):
        options = (*command.small, *FAST, "--staleness", "2", "--learning-rate", rate)
        command.run("train", *options, "--out", folder, "grpo")
    still, moved = ([line["entropy"] for line in command.lines(folder)] for folder in ("still", "moved"))
    assert still[:3] == moved[:3]
    assert all(a != b for a, b in zip(still[3:], moved[3:], strict=True))
    rms = [line["logratio_rms"] for line in command.lines("moved")]
    assert rms[0] < rms[1] < rms[2]


def test_mixed_rollouts_have_prompts_of_each_age(tmp_path, monkeypatch):
    """Which policy samples which prompts, and what the strategy is told of it."""
    sizes = {"steps": 6, "prompts": 5, "samples": 4, "updates_per_rollout": 2}
    config = TrainConfig(**sizes, engine="fast", staleness=2, staleness_mixed=True)
    controller = Controller(make_strategy("od"))
    training = fast_run._Training(Run.create(tmp_path / "run", {}, controller.payload()), config, make_strategy("od"))
    sampled_by, told = {}, []

    def watched(environment, model, problems, **options):
        sampled_by.update({id(problem): training.done for problem in problems})
        return graded(environment, model, problems, **options)

    monkeypatch.setattr(fast_run, "graded", watched)
    observe = training.controller.observe
    monkeypatch.setattr(training.controller, "observe", lambda summary: told.append(summary) or observe(summary))
    for _ in range(6):
        training.rollout()
    versions = [sampled_by[id(problem)] for problem in training.problems]
    expected = [[0] * 5, [0, 0, 0, 1, 1], [0, 1, 1, 2, 2], [1, 2, 2, 3, 3], [2, 3, 3, 4, 4], [3, 4, 4, 5, 5]]
    assert versions == [version for rollout in expected for version in rollout]
    assert told[0].ages is None
    for summary in told[2:]:
        assert len(summary.ages) == 3
        assert sum(summary.ages) == pytest.approx(1)


def test_a_comparison_runs_on_it(command):
    command.run("compare", *command.small, *FAST, "--seeds", "2", "--out", "set", "grpo", "clip-lower")
    for run in ("1-grpo-seed0", "2-clip-lower-seed1"):
        assert json.loads((command.folder / "set" / run / "config.json").read_text())["engine"] == "fast"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "fast", "--dump-every", "1", "grpo"], "--dump-every 1 needs --engine trl"),
        (["--engine", "fast", "--advantage", "gae", "grpo"], "--advantage gae needs --engine trl"),
        (["--engine", "fast", "trl:sapo"], "only TRL's trainer has the loss of trl:sapo"),
        (["--staleness", "1", "grpo"], "--staleness 1 needs --engine fast"),
        (["--engine", "fast", "--staleness-mixed", "grpo"], "--staleness-mixed True needs --staleness"),
        (["--engine", "fast", "--updates-per-rollout", "1", "grpo"], "cannot act"),
        (["--engine", "fast", "--model", "nowhere", "grpo"], "nowhere"),
    ],
)
def test_what_it_has_not_is_said(command, words, said):
    out = command.run("train", "--out", "run", *words, code=2)
    assert said in out.stderr.strip().splitlines()[-1]
    assert not (command.folder / "run").exists()


def test_a_clip_acts_on_one_update_of_stale_rollouts(command):
    options = ("--updates-per-rollout", "1", "--staleness", "1", "--learning-rate", "1e-3")
    command.run("train", *command.small, *options, *FAST, "--out", "run", "grpo")
    lines = command.lines("run")
    assert lines[0]["clip_low"] == lines[0]["clip_high"] == 0
    assert sum(line["clip_low"] + line["clip_high"] for line in lines[1:]) > 0


def test_a_full_disk_is_one_line_and_the_run_resumes(command):
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
    code = limit + "from entrostat.cli import main; sys.exit(main(sys.argv[1:]))"
    start = [sys.executable, "-c", code, "train", *command.small, *FAST, "--out", "run", "grpo"]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the disk takes no more (" in done.stderr.strip().splitlines()[-1]
    command.run("train", "--resume", "run")
    command.run("train", *command.small, *FAST, "--out", "whole", "grpo")
    assert bytes_of(command, "run") == bytes_of(command, "whole")


def test_a_run_that_diverges_is_one_line(command):
    options = ("--learning-rate", "1e10", *FAST, "--out", "run")
    out = command.run("train", *command.small, *options, "grpo", code=2)
    said = out.stderr.strip().splitlines()[-1]
    assert "the norm of a gradient is nan: the run has diverged; resume from an earlier checkpoint with a lower" in said
