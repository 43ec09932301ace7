"""Configurations of other trainers, small and in their true form, and the table that they are read by."""

import json
import textwrap

import pytest

from entrostat.cli import main
from entrostat.doctor import findings, read, settings
from entrostat.doctor.others import OTHERS
from entrostat.doctor.settings import checked

OPENRLHF = """
    set -x
    python3 -m openrlhf.cli.train_ppo_ray \\
       --actor.eps_clip_low_high 0.2 0.27 \\
       --train.batch_size {update} --rollout.batch_size 128 --rollout.n_samples_per_prompt 8 \\
       --algo.kl.use_loss --rollout.temperature 1.0 {more}
    # You could also try
    """
OPENRLHF_BEFORE = """
    python3 -m openrlhf.cli.train_ppo_ray --init_kl_coef 1e-3 --advantage_estimator group_norm \\
       --eps_clip_low_high 0.2 0.27 --train_batch_size 128 --rollout_batch_size 128 --n_samples_per_prompt 8
    """
SKYRL = """
    : "${{TEMPERATURE:=1.0}}"
    uv run --isolated --extra fsdp -m skyrl.train.entrypoints.main_base \\
      trainer.algorithm.policy_loss_type="{loss}" trainer.algorithm.eps_clip_high=0.28 \\
      trainer.train_batch_size=256 trainer.policy_mini_batch_size={update} \\
      generator.n_samples_per_prompt=5 generator.sampling_params.temperature=1.0 {more} $@
    """
SLIME = """
    SCRIPT_DIR="$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" &>/dev/null && pwd)"
    source "${{SCRIPT_DIR}}/models/qwen3-4B.sh"
    ROLLOUT_ARGS=(
       --rollout-batch-size 32
       --n-samples-per-prompt 8
       --rollout-temperature 1
       --global-batch-size {update}
    )
    GRPO_ARGS=(
       --advantage-estimator {loss}
       --eps-clip 0.2
       --eps-clip-high 0.28
       {more}
    )
    ray job submit --address="http://127.0.0.1:8265" --runtime-env-json="${{RUNTIME_ENV_JSON}}" \\
       -- python3 train.py --actor-num-nodes 1 ${{MODEL_ARGS[@]}} ${{ROLLOUT_ARGS[@]}} ${{GRPO_ARGS[@]}}
    """
PRIME_RL = """
    max_steps = 100
    seq_len = 4096
    [model]
    name = "Qwen/Qwen3-4B"
    [trainer.loss]
    {loss}
    [orchestrator]
    batch_size = 512
    [orchestrator.train.sampling]
    temperature = 1.0
    """
AXOLOTL = """
    base_model: Qwen/Qwen2.5-0.5B-Instruct
    rl: grpo
    micro_batch_size: 4
    gradient_accumulation_steps: 2
    trl:
      num_generations: 8
      {more}
    datasets: [{{path: x}}]
    """
SWIFT = """
    NPROC_PER_NODE=8 swift rlhf --rlhf_type grpo --model Qwen/Qwen2.5-7B --temperature 1.0 \\
        --gradient_accumulation_steps 4 {more} --tuner_type lora
    """


def seen(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    config = settings(read([str(path)]))
    return config, {found.finding.name for found in findings(config)}


ONE = "RATIO_ALWAYS_ONE"


@pytest.mark.parametrize(
    ("text", "trainer", "expected"),
    [
        (OPENRLHF.format(update=128, more=""), "openrlhf", set()),
        (OPENRLHF.format(update=1024, more=""), "openrlhf", {ONE}),
        (OPENRLHF.format(update=128, more="--actor.dual_clip 1.2"), "openrlhf", {"DUAL_CLIP"}),
        (OPENRLHF.format(update=128, more="--actor.policy_loss_type gspo"), "openrlhf", {"SEQUENCE_WINDOW"}),
        (OPENRLHF_BEFORE, "openrlhf", set()),
        (SKYRL.format(loss="regular", update=64, more=""), "skyrl", set()),
        (SKYRL.format(loss="regular", update=256, more=""), "skyrl", {ONE}),
        (SKYRL.format(loss="rollout_is", update=256, more=""), "skyrl", set()),
        (SKYRL.format(loss="gspo", update=64, more=""), "skyrl", {"SEQUENCE_WINDOW"}),
        (SKYRL.format(loss="dppo", update=64, more=""), "skyrl", {"THRESHOLD_IGNORED"}),
        (
            SKYRL.format(loss="regular", update=64, more="trainer.algorithm.entropy_loss_coef=0.02"),
            "skyrl",
            {"SWITCHED_OFF"},
        ),
        (
            SKYRL.format(loss="dual_clip", update=64, more="trainer.algorithm.clip_ratio_c=1.2"),
            "skyrl",
            {"DUAL_CLIP"},
        ),
        (SLIME.format(loss="grpo", update=256, more=""), "slime", {ONE}),
        (SLIME.format(loss="grpo", update=128, more=""), "slime", set()),
        (SLIME.format(loss="grpo", update=256, more="--use-rollout-logprobs"), "slime", set()),
        (
            SLIME.format(loss="gspo", update=128, more="--kl-loss-coef 0.1"),
            "slime",
            {"SEQUENCE_WINDOW", "SWITCHED_OFF"},
        ),
        (SWIFT.format(more=""), "ms-swift", {ONE}),
        (SWIFT.format(more="--steps_per_generation 8"), "ms-swift", set()),
        (SWIFT.format(more="--steps_per_generation 8 --loss_type cispo"), "ms-swift", {"CAP_UNDER_ONE"}),
        (SWIFT.format(more="--num_iterations 2 --top_k 50"), "ms-swift", {"SAMPLING_CUT"}),
        (SWIFT.format(more="--num_iterations ${N}"), "ms-swift", set()),
    ],
)
def test_a_script_is_judged_by_its_trainers_table(tmp_path, text, trainer, expected):
    config, found = seen(tmp_path, "run.sh", text)
    assert (config.trainer, found) == (trainer, expected)


def test_an_older_name_is_read_and_said(tmp_path):
    config, _ = seen(tmp_path, "run.sh", OPENRLHF_BEFORE)
    assert config["actor.eps_clip_low_high"] == (0.2, 0.27)
    assert any("names of an older OpenRLHF: " in note and "eps_clip_low_high (now" in note for note in config.notes)
    assert any(note.startswith("not read: init_kl_coef, advantage_estimator") for note in config.notes)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("", set()),
        ("dppo_mask_high = 1.0", {"WINDOW_OPEN"}),
        ('type = "ipo"\nipo_threshold = 2', {"WINDOW_OPEN"}),
        ('type = "ipo"\ndppo_mask_low = 0.1', {"THRESHOLD_IGNORED"}),
        ('type = "custom"\nimport_path = "x.y"', set()),
    ],
)
def test_prime_rl(tmp_path, loss, expected):
    config, found = seen(tmp_path, "rl.toml", textwrap.dedent(PRIME_RL).format(loss=loss))
    assert (config.trainer, found) == ("prime-rl", expected)
    script = tmp_path / "run.sh"
    script.write_text("uv run rl @ rl.toml --max-steps 20\n")
    again = settings(read([str(script)]))
    assert (again.trainer, again.values) == ("prime-rl", config.values)


def test_axolotl(tmp_path):
    config, found = seen(tmp_path, "grpo.yaml", AXOLOTL.format(more="epsilon: 0.1"))
    assert (config.trainer, config["trl.epsilon"], found) == ("axolotl", 0.1, {ONE})
    _, found = seen(tmp_path, "grpo.yaml", AXOLOTL.format(more="num_iterations: 2"))
    assert found == set()


def test_a_runs_saved_folder(tmp_path):
    saved = tmp_path / ".hydra" / "config.yaml"
    saved.parent.mkdir()
    saved.write_text("actor_rollout_ref: {actor: {clip_ratio_high: 3.0}}\nray_init: {num_cpus: null}\n")
    config = settings(read([str(tmp_path)]))
    assert config.trainer == "verl" and config["actor_rollout_ref.actor.clip_ratio_high"] == 3.0
    assert "verl 0.9.1 has these settings no more: until verl 0.5: ray_init" in config.notes
    wandb = tmp_path / "config.yaml"
    wandb.write_text(
        "wandb_version: 1\n_wandb: {value: {cli_version: x}}\n"
        "num_generations: {desc: null, value: 8}\ndelta: {desc: null, value: 1.1}\n"
        "max_prompt_length: {value: 512}\nnum_iterations: {value: 2}\n"
    )
    config = settings(read([str(wandb)]))
    assert {found.finding.name for found in findings(config)} == {"DUAL_CLIP"}
    assert any("no more: until TRL 0.27: max_prompt_length" in note for note in config.notes)


def test_every_name_that_is_passed_over_is_said_and_none_reaches_the_terminal_raw(tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"epsilon": 0.1, "num_iterations": 2, "\x1b[31mred": 1, "epsilon_hgh": 1, "mine": 2}))
    assert main(["doctor", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "no such setting: ?[31mred, epsilon_hgh (did you mean epsilon_high?), mine" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("name", OTHERS)
def test_the_table_is_whole(name):
    trainer = OTHERS[name]
    for setting in trainer.settings.values():
        assert setting.default is None or checked(setting.name, setting.default, setting.kind) == setting.default
    loss = trainer.settings.get("loss")
    assert len(trainer.losses) == 1 if loss is None else (loss.default or "") in trainer.losses
    meant = {meaning for one in trainer.switched for meaning in (one.coefficient, *one.switches)}
    wheres = [*trainer.stale, *trainer.late, *(each for one in trainer.losses.values() for each in one.sampler_where)]
    for one in trainer.corrections:
        wheres += one.on
        meant |= {each for each in (one.low, one.high, one.pair, one.function, *one.others) if each}
        assert set(one.losses) <= set(trainer.losses)
    assert meant | {where.meaning for where in wheres} <= set(trainer.settings)
    meanings = {setting.name for setting in trainer.settings.values()}
    assert len(meanings) == len(trainer.settings)
