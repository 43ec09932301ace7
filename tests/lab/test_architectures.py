"""Qwen2, Qwen3, Llama and OLMo-2 with byte-level BPE tokenizers, whole and by LoRA, through the real commands."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from entrostat.lab import evaluate
from entrostat.lab.config import TrainConfig
from entrostat.lab.load import load_model
from entrostat.lab.weights import adapters, check_weights
from tiny_models import KINDS, tiny_model

SMALL = [
    *("--steps", "3", "--prompts", "4", "--samples", "4", "--updates-per-rollout", "2", "--reward", "normal"),
    *("--eval-problems", "4", "--eval-samples", "2", "--save-every", "1", "--learning-rate", "1e-2"),
]
SUMS = {f"E{i}/change_{what}" for i in range(1, 5) for what in ("kept", "clipped")}


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_an_architecture_trains_and_is_evaluated(command, kind):
    model = tiny_model(command.folder / kind, kind)
    two_sided = ("thermostat", "--hold", "both", "--target", "0.8x")
    command.run("train", *SMALL, "--model", model, "--out", "run", *two_sided)
    lines = command.lines("run")
    # tokens of the run are those of the real tokenizer, entropy of a random model near ln(vocabulary)
    vocabulary = AutoModelForCausalLM.from_pretrained(model).config.vocab_size
    assert abs(lines[0]["entropy"] - torch.tensor(float(vocabulary)).log().item()) < 0.02
    # the sums pass through the model's own LM head: the engine has found it, and it gives TRL's log-probabilities
    assert all(line.keys() >= SUMS for line in lines)
    # the controller has seen an entropy over its target and pushes down, harder each rollout
    assert [line["pressure"] for line in lines] == sorted((line["pressure"] for line in lines), reverse=True)
    assert lines[-1]["pressure"] < 0
    before, after = weights(model), weights(command.folder / "run" / "checkpoint")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    scored = command.run("evaluate", "run/checkpoint", "--problems", "4", "--samples", "2", "--json")
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    assert json.loads(scored.stdout)["entropy"] == summary["entropy_end"]


def test_lora_moves_the_adapted_layers_alone_and_comes_out_as_a_whole_model(command):
    model = tiny_model(command.folder / "base", "qwen2")
    # all that is scored passes through the model at once, as in `evaluate`
    options = [*SMALL, "--model", model, "--lora-rank", "4", "--micro-batches", "2", "--eval-samples", "1"]
    command.run("train", *options, "--out", "run", "thermostat")
    assert all(line.keys() >= SUMS for line in command.lines("run"))
    before, after = weights(model), weights(command.folder / "run" / "checkpoint")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert moved == {name for name in before if name.endswith(".weight") and any(one in name for one in linear)}
    for name in moved:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 4
    scored = command.run("evaluate", "run/checkpoint", "--problems", "4", "--samples", "1", "--json")
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    assert json.loads(scored.stdout)["entropy"] == summary["entropy_end"]
    assert json.loads((command.folder / "run" / "config.json").read_text())["label"] == "thermostat, lora 4"


@pytest.mark.slow
def test_a_killed_lora_run_resumes_to_the_same_numbers(command):
    model = tiny_model(command.folder / "base", "llama")
    options = [*SMALL, "--model", model, "--lora-rank", "2", "--lora-alpha", "8"]
    command.run("train", *options, "--out", "whole", "thermostat")
    process = command.start("train", *options, "--out", "killed", "thermostat")
    saved = command.folder / "killed" / "trainer" / "checkpoint-2" / "trainer_state.json"
    end = time.monotonic() + 300
    while not saved.exists() and process.poll() is None:
        assert time.monotonic() < end, "no checkpoint came"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    command.run("train", "--resume", "killed")
    assert command.lines("killed") == command.lines("whole")
    whole, killed = (weights(command.folder / name / "checkpoint") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_scoring_and_probing_take_as_many_at_once_as_training(command, monkeypatch):
    seen = []

    def heard(*args, batch=evaluate.BATCH, **options):
        seen.append(batch)
        return real(*args, batch=batch, **options)

    real = evaluate.sample
    monkeypatch.setattr(evaluate, "sample", heard)
    monkeypatch.setattr(evaluate, "PROBE_PROMPTS", 3)
    model = tiny_model(command.folder / "base", "qwen2")
    options = [*SMALL, "--steps", "1", "--probe-every", "1", "--micro-batches", "4"]
    command.run("train", *options, "--model", model, "--out", "run", "grpo")
    assert seen == [2, 2, 2]
    seen.clear()
    command.run("train", *options, "--out", "lab", "grpo")
    assert seen == [512, 512, 512]


def test_micro_batches_are_the_same_update(command):
    # one rollout: a token that a rounding turns in the second would hide behind the sampler
    options = [*SMALL[2:], "--steps", "1"]
    for folder, parts in (("one", "1"), ("four", "4")):
        command.run("train", *options, "--micro-batches", parts, "--out", folder, "clip-lower", "--low", "0.01")
    one, four = (weights(command.folder / name / "checkpoint") for name in ("one", "four"))
    # AdamW's first steps are of the size of the learning rate whatever the gradient: close, not equal
    moved = max((one[name] - four[name]).abs().max().item() for name in one)
    assert moved < 1e-3
    first = [command.lines(name)[0] for name in ("one", "four")]
    assert first[0]["entropy"] == pytest.approx(first[1]["entropy"], rel=1e-6)
    assert first[0]["reward"] == first[1]["reward"]


def test_alpha_is_twice_the_rank_unless_it_is_given():
    config = TrainConfig(lora_rank=8)
    assert (adapters(config).r, adapters(config).lora_alpha) == (8, 16)
    assert adapters(dataclasses.replace(config, lora_alpha=4)).lora_alpha == 4
    assert adapters(TrainConfig()) is None


def test_what_adapters_cannot_do_is_refused(monkeypatch):
    for options, said in (
        ({"lora_rank": 4, "advantage": "gae"}, "leave out --lora-rank"),
        ({"lora_alpha": 4}, "--lora-alpha 4 needs --lora-rank"),
        ({"lora_rank": -1}, "--lora-rank must be at least 0, got -1"),
        ({"micro_batches": 3}, "--micro-batches 3 must divide the 64 completions of an update"),
        ({"eval_problems": 1}, "--eval-problems must be at least 2, got 1"),
        ({"eval_problems": 0, "eval_at": (1,)}, "--eval-at scores nothing"),
    ):
        with pytest.raises(ValueError, match=said):
            TrainConfig(**options)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'entrostat\[peft\]'"):
        check_weights(TrainConfig(lora_rank=4))


def test_a_sharded_model_is_not_scored(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="--eval-problems 128 needs the whole model on one device"):
        check_weights(TrainConfig())
    check_weights(TrainConfig(eval_problems=0))


@pytest.mark.slow
def test_the_trainer_gathers_the_checkpoint_where_the_launcher_shards(command):
    """accelerate shards nothing on a CPU: what the environment changes here is who writes the checkpoint."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    options = ["-m", "entrostat", "train", *SMALL, "--eval-problems", "0", "--map-every", "0"]
    for folder, env in (("plain", {}), ("fsdp", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"})):
        done = subprocess.run(
            [*launch, *options, "--out", folder, "grpo"], capture_output=True, text=True, env={**os.environ, **env}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert not (command.folder / "fsdp" / ".checkpoint").exists()
    plain, fsdp = (weights(command.folder / name / "checkpoint") for name in ("plain", "fsdp"))
    assert all(torch.equal(plain[name], fsdp[name]) for name in plain)
    assert load_model(TrainConfig(model=str(command.folder / "fsdp" / "checkpoint")))[1] is not None


def test_a_run_without_scores_ends(command):
    done = command.run("train", *SMALL, "--eval-problems", "0", "--out", "run", "grpo")
    assert "grpo" in done.stdout
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    assert summary["start"] == {} and "mean@2" not in summary
    assert (command.folder / "run" / "report.html").exists()
    assert load_model(TrainConfig(model=str(command.folder / "run" / "checkpoint")))[0] is not None
