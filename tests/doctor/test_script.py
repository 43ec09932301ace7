"""The scripts that people start runs with, rebuilt small in their true form, as `entrostat doctor` reads them."""

import json
import textwrap

import pytest

from entrostat.cli import main
from entrostat.doctor import findings, read, settings

DAPO = """
    #!/usr/bin/env bash
    #SBATCH --nodes=2
    set -xeuo pipefail
    project_name='DAPO'
    clip_ratio_low=0.2
    clip_ratio_high=0.28
    train_prompt_bsz=${TRAIN_BSZ:-512}
    n_resp_per_prompt=16
    train_prompt_mini_bsz=$((train_prompt_bsz / 16))
    loss_agg_mode="token-mean"
    ENGINE=${1:-vllm}
    MODEL_PATH=${MODEL_PATH:-"${HOME}/models/Qwen2.5-32B"}

    ACTOR=(
        actor_rollout_ref.actor.clip_ratio_low=${clip_ratio_low}
        actor_rollout_ref.actor.clip_ratio_high=${clip_ratio_high}   # DAPO's
        actor_rollout_ref.actor.ppo_mini_batch_size=${train_prompt_mini_bsz}
    )
    ray job submit --runtime-env-json='{"working_dir": "."}' \\
        -- python3 -m verl.trainer.main_ppo \\
        data.train_files="${TRAIN_FILE}" \\
        data.train_batch_size=${train_prompt_bsz} \\
        actor_rollout_ref.rollout.n=${n_resp_per_prompt} \\
        actor_rollout_ref.rollout.name=$ENGINE \\
        actor_rollout_ref.rollout.temperature=0.6 \\
        actor_rollout_ref.model.path="${MODEL_PATH}" \\
        trainer.logger='["console","wandb"]' \\
        "${ACTOR[@]}" "$@"
    """
OPEN_R1 = """
    ACCELERATE_LOG_LEVEL=info accelerate launch --config_file recipes/zero3.yaml \\
        --num_processes=7 src/open_r1/grpo.py \\
        --config recipes/grpo.yaml --vllm_mode colocate --epsilon_high 0.28 --use_vllm
    """
SWIFT = """
    NPROC_PER_NODE=8 CUDA_VISIBLE_DEVICES=0,1 \\
    swift rlhf --rlhf_type grpo --model Qwen/Qwen2.5-7B-Instruct --dataset a b \\
        --epsilon 3e-4 --epsilon_high 4e-4 --steps_per_generation 4 --gradient_accumulation_steps 1 \\
        --importance_sampling_level sequence --train_type lora
    """
PYTHON = """
    from trl import GRPOConfig, GRPOTrainer

    ACCUMULATION = 4
    args = GRPOConfig(
        output_dir="out", gradient_accumulation_steps=ACCUMULATION, num_generations=8,
        epsilon_high=0.28, temperature=0.7, num_iterations=n(),
    )
    GRPOTrainer(model="Qwen/Qwen2.5-0.5B", args=args).train()
    """


def file(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return str(path)


def names(config):
    return {found.finding.name for found in findings(config)}


def test_a_verl_script_is_read_through_its_variables(tmp_path):
    source = read([file(tmp_path, "run.sh", DAPO)])
    config = settings(source)
    assert config.trainer == "verl"
    actor = "actor_rollout_ref.actor"
    assert config["data.train_batch_size"] == 512
    assert config[f"{actor}.ppo_mini_batch_size"] == 32
    assert config[f"{actor}.clip_ratio_high"] == 0.28
    assert config["actor_rollout_ref.rollout.n"] == 16
    assert names(config) == {"TEMPERATURE"}
    assert source.notes == ()
    line = textwrap.dedent(DAPO).partition("ray job submit")[0].count("\n") + 1
    assert source.name.endswith(f"run.sh, line {line}")


def test_words_behind_a_script_override_it(tmp_path):
    config = settings(read([file(tmp_path, "run.sh", DAPO), "actor_rollout_ref.rollout.temperature=1"]))
    assert names(config) == set()


def test_a_trl_script_is_read_with_its_yaml_and_flags(tmp_path):
    file(tmp_path, "recipes/grpo.yaml", "num_generations: 16\nepsilon: 0.1\nepsilon_high: 0.1\nloss_type: dapo\n")
    source = read([file(tmp_path, "scripts/train.sh", OPEN_R1)])
    config = settings(source)
    assert config.trainer == "trl" and source.processes == 7
    assert (config["epsilon"], config["epsilon_high"], config["use_vllm"]) == (0.1, 0.28, True)
    assert source.notes == ()


def test_a_yaml_that_is_not_there_is_said(tmp_path):
    source = read([file(tmp_path, "train.sh", OPEN_R1)])
    assert source.notes == (
        "the file recipes/grpo.yaml was not found, so the trainer's own defaults stand in its place",
    )


def test_ms_swift_is_read_as_itself(tmp_path):
    config = settings(read([file(tmp_path, "swift.sh", SWIFT)]))
    assert config.trainer == "ms-swift" and config["epsilon"] == 3e-4 and config["steps_per_generation"] == 4
    assert "RATIO_ALWAYS_ONE" not in names(config)


@pytest.mark.parametrize("kind", ["py", "ipynb"])
def test_python_and_notebooks_are_read_and_not_run(tmp_path, kind):
    text = textwrap.dedent(PYTHON)
    if kind == "ipynb":
        text = json.dumps({"cells": [{"cell_type": "code", "source": text}]})
    source = read([file(tmp_path, f"train.{kind}", text)])
    (note,) = source.notes
    assert note == ("num_iterations is not known, as the script does not show n(): what depends on it was not judged")
    assert names(settings(source)) == {"TEMPERATURE"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.sh", "echo hello", "no command in it starts a trainer that is read: give"),
        ("a.sh", "python3 -m nemo_rl.run --eps_clip 0.2", "line 1 starts NeMo RL, whose settings"),
        ("a.sh", "source common.sh", "line 1 reads another script"),
        ("a.py", "import torch", r"no GRPOConfig\(\.\.\.\) in it: give the file"),
        ("a.py", "parser = TrlParser((A, B))", r"from its command line \(TrlParser\), so give the bash script"),
        ("a.py", "def (", r"no Python that can be read \(line 1\)"),
        ("a.ipynb", "{}", "no notebook that can be read"),
    ],
)
def test_what_starts_no_run_is_one_line(tmp_path, capsys, name, text, said):
    path = file(tmp_path, name, text)
    with pytest.raises(ValueError, match=said):
        read([path])
    assert main(["doctor", path]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and path in error


def test_the_command_shows_notes_and_unknown_names(tmp_path, capsys):
    script = DAPO.replace("trainer.logger", "actor_rollout_ref.actor.clip_ration_low=0.1 trainer.logger")
    script = script.replace("n=${n_resp_per_prompt}", "n=${SAMPLES}")
    path = file(tmp_path, "run.sh", script)
    assert main(["doctor", path, "--json"]) == 1
    answered = json.loads(capsys.readouterr().out)
    assert any("clip_ration_low" in note and "did you mean clip_ratio" in note for note in answered["notes"])
    assert main(["doctor", path]) == 1
    assert "SAMPLES" in capsys.readouterr().out


def test_a_second_run_is_named(tmp_path):
    two = SWIFT + SWIFT.replace("3e-4", "1e-4")
    source = read([file(tmp_path, "two.sh", two)])
    assert "line 7 starts another run, which was not read" in source.notes
