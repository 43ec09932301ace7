"""verl.trainer.main_ppo from rollout to checkpoint, with the plug-in and without, on two ranks: GRPO, and PPO.

Each run takes about a minute on two quiet cores, so tests share them.
"""

import json
import subprocess
import sys

import pytest
import torch
import torch.distributed.tensor
from runs import STATE_FILE, launch, main_ppo, metrics, parameters, same, state
from settings import ACTOR, MODE, STEPS, environment, ours
from transformers import AutoModelForCausalLM

CLIP = (f"{ACTOR}.clip_ratio_low=0.2", f"{ACTOR}.clip_ratio_high=0.28")
CRITIC = {"VERL_USE_EXTERNAL_MODULES": "cpu_platform,cpu_rollout,cpu_critic"}
CONSTANT = (MODE, *ours("clip-higher"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def vanilla(folder):
    return main_ppo(folder / "vanilla", 2, "PPO", *CLIP, **CRITIC)


@pytest.fixture(scope="session")
def constant(folder):
    return main_ppo(folder / "constant", 2, "PPO", *CONSTANT, **CRITIC)


def test_two_steps_under_constant_bounds_are_verls_own_bit_by_bit(vanilla, constant):
    """With verl's critic and GAE. The loss under GRPO's advantages: test_loss.py."""
    for part in ("actor", "critic"):
        for step in (1, 2):
            assert same(parameters(vanilla, step, 2, part), parameters(constant, step, 2, part))
        assert not same(parameters(constant, 1, 2, part), parameters(constant, 2, 2, part))
    stock, ours_ = metrics(vanilla), metrics(constant)
    for step in (1, 2):
        for name in ("actor/pg_clipfrac", "critic/vf_loss"):
            assert stock[step][name] == ours_[step][name]
        assert ours_[step]["entrostat/clip_high"] + ours_[step]["entrostat/clip_low"] > 0
        assert not any("sums" in name for name in ours_[step])
        # constant windows of positive widths drop nothing before it moves
        assert ours_[step]["entrostat/dropped"] == 0
    assert state(constant, 2)["strategy"]["name"] == "clip-higher"


def test_a_checkpoint_is_merged_into_a_model_that_evaluate_scores(constant, folder):
    """The lines of docs/real-runs.md, with the folders and a benchmark of this run."""
    shards, model, scores = constant / "ckpt/global_step_2/actor", folder / "model", folder / "scores"
    benchmark = folder / "benchmark.jsonl"
    rows = [{"id": str(i), "problem": f"{i} + {i} = ?", "answer": str(2 * i)} for i in (1, 2)]
    benchmark.write_text("".join(json.dumps(row) + "\n" for row in rows))
    merge = ["verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", shards, "--target_dir", model]
    score = [
        "entrostat",
        "evaluate",
        model,
        "--benchmark",
        benchmark,
        "--samples",
        2,
        "--max-tokens",
        4,
        "--out",
        scores,
    ]
    for words in (merge, score):
        subprocess.run([sys.executable, "-m", *map(str, words)], check=True, capture_output=True, env=environment())
    merged = AutoModelForCausalLM.from_pretrained(model).state_dict()
    first, second = parameters(constant, 2, 2)
    for name, value in first.items():
        assert torch.equal(merged[name], torch.cat([value, second[name]]).bfloat16()), name
    assert json.loads((scores / "scores.json").read_text())


@pytest.mark.slow
def test_a_strategy_with_a_state_is_refused_by_the_v0_trainer_and_one_without_trains(folder):
    """v0 knows nothing of our trainer: the loss alone has to tell."""
    done = launch(folder / "v0-thermostat", 1, "trainer.use_v1=False", *ours("thermostat"))
    assert done.returncode != 0
    assert "with trainer.use_v1=true and trainer.v1.trainer_mode=entrostat" in done.stdout + done.stderr
    work = main_ppo(folder / "v0", 1, "trainer.use_v1=False", f"{STEPS}=1", *ours("clip-lower"))
    assert metrics(work)[1]["actor/grad_norm"] > 0
    assert (work / "ckpt/global_step_1").is_dir() and not (work / f"ckpt/global_step_1/{STATE_FILE}").exists()
