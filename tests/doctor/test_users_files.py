"""Run files as users have them, small and in their true form: each is a kind that was refused, or judged wrongly."""

import json
import textwrap

import pytest

from entrostat.cli import main
from entrostat.doctor import findings, read, settings
from entrostat.doctor.read import MAX_BYTES

ONE = "RATIO_ALWAYS_ONE"


def file(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return str(path)


def seen(path):
    """The settings, and the names of the findings."""
    config = settings(read([path]))
    return config, {found.finding.name for found in findings(config)}


def notebook(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": cell, "outputs": []} for cell in cells]})


# Notebooks


def test_a_notebooks_outputs_do_not_count(tmp_path):
    content = json.loads(notebook("from trl import GRPOConfig\nGRPOConfig(epsilon=0.1, num_iterations=2)"))
    content["cells"][0]["outputs"] = ["x" * (2 * MAX_BYTES)]
    config, _ = seen(file(tmp_path, "run.ipynb", json.dumps(content)))
    assert config["epsilon"] == 0.1


def test_cells_of_a_hosted_notebook(tmp_path):
    """Magics over several lines, under a title, and a cell that is broken."""
    cells = (
        "%%capture\nimport os\nif os:\n    !pip install a \\\n        b c\n",
        "#@title Install\n%%bash\necho (",
        "this is broken (",
        "import trl\nx = trl.GRPOConfig(epsilon=0.1, num_iterations=2)",
    )
    config, _ = seen(file(tmp_path, "run.ipynb", notebook(*cells)))
    assert config["epsilon"] == 0.1


@pytest.mark.parametrize("line", ["import unsloth", "%%capture\nfrom unsloth import FastLanguageModel"])
def test_an_import_of_unsloth_is_found(tmp_path, line):
    made = "from trl import GRPOConfig\nGRPOConfig(num_iterations=2)"
    assert seen(file(tmp_path, "run.ipynb", notebook(line, made)))[1] == {"UNSLOTH"}
    assert seen(file(tmp_path, "other.ipynb", notebook("import unsloth_of_mine", made)))[1] == set()


# A script that starts a Python file with options of its own

PROGRAM = """
    import argparse
    from trl import GRPOConfig, GRPOTrainer

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--group", "-g", type=int, default=4)
        parser.add_argument("--accumulate", type=int, default=8)
        parser.add_argument("--temp", type=float, default=0.7)
        parser.add_argument("--batch", type=int, default=None)
        parser.add_argument("--fast", action="store_true")
        parser.add_argument("--data", required=True)
        options = parser.parse_args()
        config = GRPOConfig(
            num_generations=options.group, gradient_accumulation_steps=options.accumulate, temperature=options.temp,
            per_device_train_batch_size=options.batch if options.batch else options.group * 2,
            use_vllm=options.fast, run_name=options.data,
        )
        GRPOTrainer(model="m", args=config).train()
    """
LAUNCH = """
    PYTHON=/opt/env/bin/python
    $PYTHON prepare.py --out data
    $PYTHON /somewhere/else/src/fit.py --data d --temp {temp} {more}
    """


@pytest.mark.parametrize("where", ["fit.py", "src/fit.py"])
def test_options_reach_the_configuration(tmp_path, where):
    file(tmp_path, where, PROGRAM)
    file(tmp_path, "prepare.py", "print('no training here')")
    path = file(tmp_path, "jobs/run.slurm", LAUNCH.format(temp=1.0, more="--batch 16 --fast"))
    config, found = seen(path)
    assert config.trainer == "trl" and found == {ONE}
    assert (config["num_generations"], config["gradient_accumulation_steps"]) == (4, 8)
    assert (config["per_device_train_batch_size"], config["use_vllm"]) == (16, True)
    name = read([path]).name
    assert "line 4, through " in name and "fit.py, line 14" in name


def test_an_option_that_the_script_does_not_show_is_not_judged(tmp_path):
    file(tmp_path, "src/fit.py", PROGRAM)
    config, found = seen(file(tmp_path, "run.sh", LAUNCH.format(temp="$TEMP", more="-g 2")))
    assert found == {ONE} and "temperature" in config.unknown
    assert config["per_device_train_batch_size"] == 8


def test_a_program_with_a_file_of_its_own_is_not_judged_by_defaults(tmp_path):
    """--config is the program's, and so are the names in it."""
    file(tmp_path, "own.yaml", "training: {accumulate: 4}\nlora: {rank: 8}\nnum_generations: 4\n")
    program = "from trl import GRPOConfig\ncfg = load()\nx = GRPOConfig(gradient_accumulation_steps=cfg['a'])\n"
    script = "python3 fit.py --config own.yaml\n"
    path = file(tmp_path, "run.sh", script)
    config, found = seen(path)
    assert found == set() and "most names in it are not TRL's" in config.notes[0]
    file(tmp_path, "fit.py", program)
    config, found = seen(path)
    assert found == set() and "gradient_accumulation_steps" in config.unknown


def test_a_file_of_another_program_is_not_judged(tmp_path):
    text = "num_generations = 4\ntemperature = 0.3\nclip = 0.2\nlayers = 16\nkl = 0.1\n"
    config, found = seen(file(tmp_path, "own.toml", text))
    assert found == set() and "another program" in config.notes[0]
    # names of one's own beside TRL's are no reason
    text = "num_generations: 4\ntemperature: 0.3\nlearning_rate: 1.0e-6\nbeta: 0.0\nreward_mode: mine\n"
    assert seen(file(tmp_path, "grpo.yaml", text))[1] == {ONE, "TEMPERATURE"}


# Python


def test_a_trainers_own_default_is_no_run(tmp_path, capsys):
    text = """
        from trl import GRPOConfig
        class MyTrainer(Trainer):
            def __init__(self, args=None):
                args = args or GRPOConfig("out")
        """
    path = file(tmp_path, "trainer.py", text)
    assert main(["doctor", path]) == 2
    assert "no GRPOConfig(...) in it but for a trainer's own default" in capsys.readouterr().err
    assert seen(file(tmp_path, "run.py", text + "\n        GRPOConfig('out', num_iterations=2)"))[1] == set()


def test_fields_from_elsewhere_are_not_judged_by_defaults(tmp_path):
    text = "from trl import GRPOConfig\nGRPOConfig(temperature=0.5, **load())"
    config, found = seen(file(tmp_path, "run.py", text))
    assert found == {"TEMPERATURE"} and "num_iterations" in config.unknown


def test_fields_that_a_source_filters_are_known(tmp_path):
    text = """
        from trl import GRPOConfig
        options = dict(gradient_accumulation_steps=4, steps_per_generation=8)
        x = GRPOConfig(**{name: value for name, value in options.items() if name in known})
        """
    config, found = seen(file(tmp_path, "run.py", text))
    assert config["steps_per_generation"] == 8 and found == set()


def test_names_that_transformers_had_are_said(tmp_path):
    config, _ = seen(file(tmp_path, "c.yaml", "epsilon: 0.2\nwarmup_ratio: 0.1\nmax_prompt_length: 9\n"))
    (note,) = config.notes
    assert "until TRL 0.27: max_prompt_length; until transformers 4: warmup_ratio" in note


# bash


def test_a_loop_over_the_scripts_arguments_leaves_its_own_values(tmp_path):
    text = """
        SIZE=64
        while [[ $# -gt 0 ]]; do
          case "$1" in
            --size) SIZE="$2"; shift 2 ;;
            *) exit 1 ;;
          esac
        done
        python3 -m verl.trainer.main_ppo data.train_batch_size=$SIZE actor_rollout_ref.actor.ppo_mini_batch_size=64
        """
    config, found = seen(file(tmp_path, "run.sh", text))
    assert found == {ONE} and not config.unknown
    assert any("line 3 reads the script's arguments, which are not known" in note for note in config.notes)


def test_a_backslash_with_something_behind_it_is_said(tmp_path):
    text = "torchrun src/grpo.py --per_device_train_batch_size 1 \\  # here\n  --gradient_accumulation_steps 2\n"
    config, _ = seen(file(tmp_path, "run.sh", text))
    # as bash has it
    assert config["gradient_accumulation_steps"] == 1
    assert any("line 1 ends its command" in note for note in config.notes)


def test_words_in_front_of_the_entry_are_no_settings(tmp_path):
    text = (
        "env SEED=1 python3 -m verl.trainer.main_ppo custom_reward_function.path=a/b.py "
        "actor_rollout_ref.actor.ppo_epochs=2\n"
    )
    config, _ = seen(file(tmp_path, "run.sh", text))
    assert config.notes == () and config["actor_rollout_ref.actor.ppo_epochs"] == 2


# verl and what is built on it

FORK = "python3 -m verl.trainer.main_ppo data.train_batch_size=64 actor_rollout_ref.actor.ppo_mini_batch_size=64 "


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("actor_rollout_ref.rollout.n_trajectories=8", "n_trajectories is not verl's"),
        ("actor_rollout_ref.rollout.n_agent=5", "n_agent is not verl's"),
        ("rllm.async_training.enable=true", "rllm.async_training.enable trains on rollouts of an older policy"),
    ],
)
def test_a_fork_with_more_updates_than_by_verls_names_is_not_judged(tmp_path, words, note):
    config, found = seen(file(tmp_path, "run.sh", FORK + words))
    assert found == set() and any(note in each for each in config.notes)
    without = words.replace("true", "false").partition("=")[0] + "=1" if "rollout" in words else "trainer.nnodes=1"
    assert seen(file(tmp_path, "run.sh", FORK + without))[1] == {ONE}


def test_a_value_where_verl_has_a_section_is_a_note(tmp_path):
    config, _ = seen(file(tmp_path, "run.sh", FORK + "actor_rollout_ref.actor.policy_loss=mine"))
    assert any("policy_loss is a value, where verl" in note for note in config.notes)
    assert "actor_rollout_ref.actor.policy_loss.loss_mode" in config.unknown


def test_a_file_stands_on_the_files_that_its_defaults_name(tmp_path):
    file(tmp_path, "base.yaml", "defaults: [ppo_trainer, more]\nactor_rollout_ref: {rollout: {temperature: 0.5}}\n")
    file(tmp_path, "more.yaml", "actor_rollout_ref: {rollout: {temperature: 0.2, n: 4}}\n")
    top = "defaults: [base, envs, other@actor_rollout_ref.actor: dp]\nactor_rollout_ref: {actor: {ppo_epochs: 2}}\n"
    config, found = seen(file(tmp_path, "run.yaml", top))
    assert found == {"TEMPERATURE"} and config["actor_rollout_ref.rollout.temperature"] == 0.5
    assert config["actor_rollout_ref.rollout.n"] == 4
    (note,) = config.notes
    assert "its defaults name envs, which was not read" in note
    script = f"python3 -m verl.trainer.main_ppo --config-path {tmp_path} --config-name run {FORK.split(None, 3)[3]}"
    assert seen(file(tmp_path, "jobs/run.sh", script))[1] == {"TEMPERATURE"}


def test_defaults_in_a_circle_end(tmp_path, capsys):
    path = file(tmp_path, "a.yaml", "defaults: [a]\nepsilon: 0.1\n")
    assert main(["doctor", path]) == 2
    assert "its defaults go in a circle" in capsys.readouterr().err


# Other trainers

EASYR1 = """
    python3 -m verl.trainer.main config=examples/own.yaml data.rollout_batch_size=128 \\
        worker.actor.global_batch_size={update} worker.actor.clip_ratio_high=0.28 {more}
    """


@pytest.mark.parametrize(
    ("update", "more", "expected"),
    [
        (128, "", {ONE}),
        (64, "", set()),
        (64, "worker.actor.clip_ratio_dual=1.2", {"DUAL_CLIP"}),
        (64, "worker.actor.loss_type=gspo", {"SEQUENCE_WINDOW"}),
        (64, "worker.actor.loss_type=sapo", {"THRESHOLD_IGNORED"}),
        (64, "worker.rollout.temperature=0.8 worker.rollout.top_p=0.9", {"TEMPERATURE", "SAMPLING_CUT"}),
    ],
)
def test_easyr1(tmp_path, update, more, expected):
    file(tmp_path, "examples/own.yaml", "worker: {rollout: {n: 8}}\ndata: {max_prompt_length: 512}\n")
    config, found = seen(file(tmp_path, "run.sh", EASYR1.format(update=update, more=more)))
    assert (config.trainer, found) == ("easyr1", expected) and config["worker.rollout.n"] == 8
    assert settings(read([str(tmp_path / "examples/own.yaml")])).trainer == "easyr1"


def test_openrlhf_before_it_was_a_package(tmp_path):
    text = "python3 examples/train_ppo_ray.py --rollout_batch_size 8 --train_batch_size 8 --init_kl_coef 0.05\n"
    config, found = seen(file(tmp_path, "run.sh", text))
    assert (config.trainer, found) == ("openrlhf", {ONE})


# What a refusal says, and the count of responses


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("own.yaml", "train: {num_generations: 2}", "num_generations is TRL's, but stands in train"),
        ("n.yaml", "grpo: {num_prompts_per_step: 8}", "is a configuration of NeMo RL"),
    ],
)
def test_a_refusal_says_whose_it_is(tmp_path, capsys, name, text, said):
    assert main(["doctor", file(tmp_path, name, text)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(("batch", "count"), [(1, None), (8, 8), (12, None)])
def test_a_number_of_responses_that_trl_refuses_is_not_said(tmp_path, capsys, batch, count):
    """It is one process's, where the run has more."""
    path = file(tmp_path, "c.yaml", f"num_generations: 8\nper_device_train_batch_size: {batch}\n")
    assert main(["doctor", path, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reach"]["responses"] == count
