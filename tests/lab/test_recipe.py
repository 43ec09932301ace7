"""A run in a TOML file: what it may hold, how it meets the command line, and the dry run."""

import dataclasses
import json

import pytest
from trl.trainer.grpo_config import GRPOConfig

from entrostat.lab.config import TrainConfig, config_from_json
from entrostat.lab.recipe import OURS, as_words, fits, read_recipe
from entrostat.lab.trl_config import grpo_fields
from entrostat.registry import flags
from tiny_models import tiny_model

GOOD = """
[train]
steps = 2
prompts = 4
samples = 4
updates_per_rollout = 2
eval_problems = 4
eval_samples = 2
reward = "normal"
learning_rate = 1e-2

[method]
name = "clip-lower"
low = 0.05
high = inf

[trl]
lr_scheduler_type = "constant_with_warmup"
warmup_steps = 3
weight_decay = 0.5
"""


@pytest.fixture
def recipe(command):
    def write(text=GOOD, name="run.toml"):
        (command.folder / name).write_text(text)
        return name

    return write


def test_a_recipe_is_the_command_line_that_it_spells(command, recipe):
    words = [
        *("--steps", "2", "--prompts", "4", "--samples", "4", "--updates-per-rollout", "2", "--eval-problems", "4"),
        *("--eval-samples", "2", "--reward", "normal", "--learning-rate", "1e-2"),
    ]
    plain = GOOD.split("[trl]")[0]
    command.run("train", "--config", recipe(plain), "--out", "file")
    command.run("train", *words, "--out", "typed", "clip-lower", "--low", "0.05")
    for name in ("metrics.jsonl", "checkpoint/model.safetensors"):
        assert command.bytes("file", name) == command.bytes("typed", name)


def test_what_is_typed_wins_and_the_trl_fields_reach_trl(command, recipe):
    command.run("train", "--config", recipe(), "--steps", "1", "--seed", "7", "--out", "run", "grpo")
    config = json.loads((command.folder / "run" / "config.json").read_text())
    assert (config["steps"], config["seed"], config["prompts"]) == (1, 7, 4)
    assert config["strategy"] == {"name": "grpo", "options": {"low": 0.2, "high": 0.2}}
    assert config["grpo"] == {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3, "weight_decay": 0.5}
    # what --resume makes of it
    again = config_from_json(config)
    assert again.grpo == config["grpo"]
    fields = grpo_fields(again, command.folder, {})
    assert (fields["warmup_steps"], fields["lr_scheduler_type"]) == (3, "constant_with_warmup")
    # and warm-up was there: TRL's checkpoint has the learning rate after the last of two updates
    state = next((command.folder / "run" / "trainer").glob("checkpoint-*/trainer_state.json"))
    rates = [line["learning_rate"] for line in json.loads(state.read_text())["log_history"] if "learning_rate" in line]
    assert rates[-1] < 1e-2


def test_a_rollout_without_a_trained_token_is_a_line_too(command, recipe):
    """A random model seldom ends a text, and what it does not end is left out here."""
    tiny_model(command.folder / "tiny", "qwen2")
    text = "[train]\nmodel = 'tiny'\n[method]\nname = 'grpo'\n[trl]\nmask_truncated_completions = true\n"
    small = ("--prompts", "1", "--samples", "2", "--updates-per-rollout", "2", "--eval-problems", "0", "--steps", "3")
    done = command.run("train", "--config", recipe(text), *small, "--out", "run")
    lines = command.lines("run")
    assert len(lines) == 3 and any(line["entropy"] is None for line in lines)
    assert ("entropy -  reward" in done.stderr) == any(lines[i]["entropy"] is None for i in (0, 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train]\nlerning_rate = 1e-3", "[train] has no option 'lerning_rate': did you mean learning_rate"),
        ("[trian]\nsteps = 1", "no table [trian] in a recipe, which has train, method, trl"),
        ("steps = 1", "no table [steps]"),
        ("train = 1", "train must be a table"),
        ("[train]\ngrpo = {}", "[train] has no option 'grpo'"),
        ("[train]\nsteps = 'many'\n[method]\nname = 'grpo'", "--steps"),
        ("[train]\nsteps = 0\n[method]\nname = 'grpo'", "--steps must be at least 1, got 0"),
        ("[train]\nsteps = {a = 1}", "[train] steps must be text, a number or a list of such"),
        ("[train]\nmodel = '--help'", "[train] model begins with --"),
        ("[train]\nsteps = 1", "no method: give [method] a name"),
        ("[method]\nlow = 0.1", "[method] needs a name"),
        ("[method]\nname = 'cliplower'", "unknown method 'cliplower': did you mean clip-lower"),
        ("[method]\nname = 'clip-lower'\nlo = 0.1", "unknown option '--lo': did you mean --low"),
        ("[trl]\nbf61 = true", "[trl] GRPOConfig has no field 'bf61': did you mean bf16"),
        ("[trl]\nbf16 = 'yes'", "[trl] bf16 must be"),
        ("[trl]\nlearning_rate = 1e-6", "[trl] learning_rate is set by the lab: use [train] learning_rate"),
        (
            "[trl]\nchat_template_kwargs = {enable_thinking = false}",
            "[trl] chat_template_kwargs is set by the lab: use",
        ),
        ("[trl]\nepsilon_high = 0.28", "[trl] epsilon_high is set by the lab: use [method] high"),
        ("[train\n", "run.toml"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_that_names_the_file(command, recipe, text, said):
    error = command.run("train", "--config", recipe(text), "--out", "run", code=2).stderr
    assert said in error
    assert error.count("\n") == 1 and "run.toml" in error
    assert not (command.folder / "run").exists()


def test_a_file_that_is_no_toml_file_or_not_there(command, recipe):
    assert "must end in .toml" in command.run("train", "--config", recipe(name="run.yaml"), code=2).stderr
    assert "gone.toml" in command.run("train", "--config", "gone.toml", code=2).stderr
    assert (
        "--resume takes no other option" in command.run("train", "--config", recipe(), "--resume", "x", code=2).stderr
    )


def test_all_that_the_lab_sets_is_refused_in_trl(tmp_path):
    """A field that a run sets and [trl] may set too would be decided by an order that nobody sees."""
    free = {"bf16", "lr_scheduler_type", "activation_checkpointing"}
    assert set(grpo_fields(TrainConfig(), tmp_path, {})) - set(OURS) == free
    assert set(OURS) <= {field.name for field in dataclasses.fields(GRPOConfig)}
    options = {field.name for field in dataclasses.fields(TrainConfig)}
    for instead in OURS.values():
        if instead.startswith("[train]"):
            named = instead.removeprefix("[train] ").split(":")[0].replace(" and ", ", ").split(", ")
            assert set(named) <= options, instead


def test_the_options_of_a_run_without_a_recipe_are_spelt_and_hashed_as_ever():
    """A run of `reproduce` is known by these words."""
    config = TrainConfig(seed=3, prompts=16)
    assert flags(config) == ["--seed", "3", "--prompts", "16"]
    assert hash(config) == hash(TrainConfig(seed=3, prompts=16))


def test_values():
    assert as_words({"a_b": [], "c": ["x", 1]}, "t") == ["--c", "x", "1"]
    for value, kind, fit in (
        (True, bool | None, True),
        (1, bool, False),
        (True, float, False),
        (3, float | None, True),
        (0.5, int, False),
        ({"a": 1}, dict[str, int] | str | None, True),
        ([1.0], list[float], True),
        (1, str, False),
    ):
        assert fits(value, kind) is fit


def test_a_recipe_reads_its_three_tables(command, recipe):
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    found = read_recipe(command.folder / recipe(), names)
    assert found.words[:4] == ["--steps", "2", "--prompts", "4"]
    assert found.method == ("clip-lower", ["--low", "0.05", "--high", "inf"])
    assert found.grpo["weight_decay"] == 0.5


# The dry run


def test_a_dry_run_says_what_the_run_would_be_and_writes_nothing(command, recipe):
    tiny_model(command.folder / "tiny", "qwen2")
    options = ["--config", recipe(), "--model", "tiny", "--micro-batches", "2", "--dry-run"]
    result = json.loads(command.run("train", *options, "--json").stdout)
    assert {path.name for path in command.folder.iterdir()} == {"run.toml", "tiny"}
    assert result["geometry"] == {
        "rollouts": 2,
        "prompts": 4,
        "completions": 16,
        "updates_per_rollout": 2,
        "optimizer_steps": 4,
        "completions_per_update": 8,
        "processes": 1,
        "completions_per_device_at_once": 4,
        "clipping_can_act": "yes: from the second of 2 updates a rollout on",
    }
    assert result["sample"]["tokens"] == len(result["sample"]["ids"]) > 0
    assert result["estimate"]["devices"] == 1 and result["estimate"]["hours"] is None
    assert (result["findings"], result["unchecked"]) == ([], [])
    shown = command.run("train", *options).stdout
    assert "estimate, not measured: 1 x 80" in shown and "nothing found" in shown


def test_a_dry_run_says_that_stale_rollouts_can_be_clipped(command):
    stale = ["--engine", "fast", "--staleness", "1", "--updates-per-rollout", "1"]
    result = json.loads(command.run("train", *stale, "--dry-run", "--json", "clip-lower").stdout)
    assert result["geometry"]["clipping_can_act"].startswith("yes: from the second rollout on")
    assert result["findings"] == []
    # and so it is: fresh rollouts' ratios are 1, a stale one's are not
    small = ["--steps", "2", "--prompts", "4", "--samples", "4", "--eval-problems", "0", "--out", "stale"]
    command.run("train", *stale, *small, "--learning-rate", "0.01", "clip-lower", "--low", "0.001")
    lines = (command.folder / "stale" / "metrics.jsonl").read_text().splitlines()
    fresh, late = (json.loads(line)["clip_low"] for line in lines)
    assert fresh == 0 < late


def test_a_dry_run_refuses_what_the_run_would(command, recipe):
    one = ["--updates-per-rollout", "1"]
    said = command.run("train", "--config", recipe(), *one, "--dry-run", code=2).stderr
    assert "'clip-lower' cannot act" in said
    many = ["--eval-problems", "9999"]
    assert "countdown has 297" in command.run("train", "--config", recipe(), *many, "--dry-run", code=2).stderr
    assert "there is no such folder" in command.run("train", "--dry-run", "--model", "./gone", "grpo", code=2).stderr
    assert "--dry-run is of one new run" in command.run("train", "--dry-run", code=2).stderr


def test_a_dry_run_without_a_hub_says_what_it_could_not_check(command, recipe, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    big = ["--prompts", "64", "--samples", "8", "--updates-per-rollout", "4"]
    model = ["--model", "Qwen/Qwen2.5-7B", *big]
    result = json.loads(command.run("train", "--config", recipe(), *model, "--dry-run", "--json").stdout)
    assert result["sample"] is None
    assert [line.split(":")[0] for line in result["unchecked"]] == ["tokenizer, chat template", "prompts"]
    # known without a hub
    assert result["estimate"]["parameters"] == 7_615_283_200
    assert result["estimate"]["devices"] == 8
