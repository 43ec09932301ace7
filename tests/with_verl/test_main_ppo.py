"""verl.trainer.main_ppo from rollout to checkpoint, with the plug-in and without, on two ranks: GRPO, and PPO.

Each run takes about a minute on two quiet cores, so tests share them.
"""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import torch.distributed.tensor
from runs import (
    RECORDED,
    STATE_FILE,
    calls,
    launch,
    main_ppo,
    metrics,
    observed,
    parameters,
    same,
    state,
    verls_staleness,
)
from settings import ACTOR, asynchronous, dynamic, environment, ours
from transformers import AutoModelForCausalLM

from entrostat import dump

CLIP = (f"{ACTOR}.clip_ratio_low=0.2", f"{ACTOR}.clip_ratio_high=0.28")
MODE = "trainer.v1.trainer_mode=entrostat"
CRITIC = {"VERL_USE_EXTERNAL_MODULES": "cpu_platform,cpu_rollout,cpu_critic"}
CONSTANT = (MODE, *ours("clip-higher"))
BYPASS = ("algorithm.rollout_correction.bypass_mode=true", "actor_rollout_ref.rollout.calculate_log_probs=True")
THERMOSTAT = (MODE, *ours("thermostat", target="0.6x", hold="both", rate=0.5), f"+{ACTOR}.policy_loss.dump_every=2")
STEPS = "trainer.total_training_steps"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def vanilla(folder):
    return main_ppo(folder / "vanilla", 2, "PPO", *CLIP, **CRITIC)


@pytest.fixture(scope="session")
def constant(folder):
    return main_ppo(folder / "constant", 2, "PPO", *CONSTANT, **CRITIC)


@pytest.fixture(scope="session")
def thermostat(folder):
    """Three steps; the ranks write down what they were told."""
    work = folder / "thermostat"
    work.mkdir()
    return main_ppo(work, 2, *THERMOSTAT, f"{STEPS}=3", RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)


@pytest.fixture(scope="session")
def resumed(folder, thermostat):
    """The same run, killed after its second checkpoint, as far as its folder can tell, and started again."""
    work = folder / "resumed"
    for step in (1, 2):
        shutil.copytree(thermostat / f"ckpt/global_step_{step}", work / f"ckpt/global_step_{step}")
    shutil.copytree(thermostat / "ckpt/entrostat_dumps", work / "ckpt/entrostat_dumps")
    (work / "ckpt/latest_checkpointed_iteration.txt").write_text("2")
    return main_ppo(work, 2, *THERMOSTAT, f"{STEPS}=3", RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)


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


def test_a_thermostats_windows_reach_the_loss(constant, thermostat):
    """It drops tokens before they move, which no constant window of positive widths does."""
    assert {row["entrostat/dropped"] for row in metrics(constant).values()} == {0.0}
    assert max(row["entrostat/dropped"] for row in metrics(thermostat).values()) > 0


def test_the_controller_observes_once_a_step_and_all_ranks_have_its_state(thermostat):
    told = [calls(thermostat, rank) for rank in (0, 1)]
    for step in (0, 1, 2):
        states = [call["state"] for rank in told for call in rank if call["step"] == step]
        # 16 completions, two epochs, micro-batches of 2 on each of two ranks
        assert len(states) == 16
        assert all(each == states[0] == state(thermostat, step + 1)["state"] for each in states)
        assert states[0]["rollouts"] == states[0]["measured"] == step + 1


def test_the_entropy_observed_is_the_mean_over_the_tokens_of_all_ranks(thermostat):
    """From the dumps, which the ranks write of what their own loss calls were given."""
    folder = thermostat / "ckpt/entrostat_dumps"
    for step in (0, 2):
        assert [path.name for path in sorted(folder.glob(f"step-{step:06d}*"))] == [
            dump.file_name(step, rank, 2) for rank in (0, 1)
        ]
        rows, tokens = [], []
        for rank in (0, 1):
            for batch in dump.read(folder / dump.file_name(step, rank, 2)):
                rows += batch.to_pylist()
                values = dump.per_token(batch)
                tokens.append({name: torch.tensor(values[name]) for name in ("update", "old_entropy", "clipped")})
        # four mini-batches' updates: each completion once an epoch
        assert sorted(row["sample"] for row in rows) == sorted([*range(16), *range(16)])
        assert sorted({row["update"] for row in rows}) == [0, 1, 2, 3]
        assert len({row["group"] for row in rows}) == 4
        assert all(row["prompt"].endswith("assistant\n") for row in rows)
        whole = {name: torch.cat([each[name] for each in tokens]) for name in tokens[0]}
        logged = metrics(thermostat)[step + 1]
        first = whole["update"] < 2
        assert logged["entrostat/entropy"] == pytest.approx(
            whole["old_entropy"][first].double().mean().item(), abs=1e-6
        )
        assert logged["entrostat/clip_low"] == pytest.approx((whole["clipped"] < 0).double().mean().item(), abs=1e-9)
        above = logged["entrostat/clip_high"] + logged["entrostat/clip_dual"]
        assert above == pytest.approx((whole["clipped"] > 0).double().mean().item(), abs=1e-9)
        if step == 0:
            assert state(thermostat, 1)["state"]["initial_entropy"] == pytest.approx(logged["entrostat/entropy"])


def test_a_resumed_run_goes_on_exactly(thermostat, resumed):
    assert [call["step"] for call in calls(resumed, 0)] == [2] * 8
    assert state(thermostat, 3) == state(resumed, 3)
    assert calls(resumed, 0)[0]["state"] == state(thermostat, 3)["state"]
    assert same(parameters(thermostat, 3, 2), parameters(resumed, 3, 2))
    names = [path.name for path in sorted((resumed / "ckpt/entrostat_dumps").iterdir())]
    assert names == [path.name for path in sorted((thermostat / "ckpt/entrostat_dumps").iterdir())]


def test_without_a_pass_of_its_own_under_dynamic_batch_sizes_and_three_epochs(folder):
    """Observed is the mean of -ln p of the rollout's own log-probabilities, once a step, however rows are packed; and
    how old the policies are that sampled them."""
    work = folder / "bypassed"
    work.mkdir()
    chosen = [
        *asynchronous("colocate_async"),
        *ours("od"),
        f"+{ACTOR}.policy_loss.dump_every=1",
        *dynamic(112),
        *BYPASS,
    ]
    chosen += [f"{ACTOR}.ppo_epochs=3", f"{ACTOR}.ppo_mini_batch_size=4"]
    main_ppo(work, 2, *chosen, RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)
    made = [calls(work, rank) for rank in (0, 1)]
    assert len({call["rows"] for rank in made for call in rank}) > 1, "all micro-batches of one size"
    fresh, stale = (each["summary"]["ages"] for each in observed(work))
    # of the second step's completions some tokens, or all, were sampled before the first update
    assert fresh is None and stale[1] > 0 and sum(stale) == pytest.approx(1)
    assert metrics(work)[2]["entrostat/staleness"] == pytest.approx(stale[1])
    for step in (0, 1):
        least, most = verls_staleness(metrics(work)[step + 1])
        assert least <= metrics(work)[step + 1]["entrostat/staleness"] <= most <= step
        found = [call for rank in made for call in rank if call["step"] == step]
        assert sum(call["rows"] for call in found) == 3 * 16
        assert all(call["state"] == state(work, step + 1)["state"] for call in found)
        assert found[0]["state"]["rollouts"] == step + 1
        surprisal, samples = [], []
        for rank in (0, 1):
            for batch in dump.read(work / "ckpt/entrostat_dumps" / dump.file_name(step, rank, 2)):
                samples += [row["sample"] for row in batch.to_pylist()]
                surprisal += (-dump.per_token(batch)["old_logprobs"]).tolist()
        assert sorted(samples) == sorted([*range(16)] * 3)
        assert metrics(work)[step + 1]["entrostat/entropy"] == pytest.approx(sum(surprisal) / len(surprisal), abs=1e-6)


def test_a_strategy_with_a_state_is_refused_by_the_v0_trainer_and_one_without_trains(folder):
    """v0 knows nothing of our trainer: the loss alone has to tell."""
    done = launch(folder / "v0-thermostat", 1, "trainer.use_v1=False", *ours("thermostat"))
    assert done.returncode != 0
    assert "with trainer.use_v1=true and trainer.v1.trainer_mode=entrostat" in done.stdout + done.stderr
    work = main_ppo(folder / "v0", 1, "trainer.use_v1=False", f"{STEPS}=1", *ours("clip-lower"))
    assert metrics(work)[1]["actor/grad_norm"] > 0
    assert (work / "ckpt/global_step_1").is_dir() and not (work / f"ckpt/global_step_1/{STATE_FILE}").exists()
