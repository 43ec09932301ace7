"""docs/real-runs.md, "verl on eight GPUs": each line's settings against the installed verl, as far as a CPU allows.

What the merging and scoring lines do is run in test_main_ppo.py, data.py in test_data_files.py."""

import copy
import importlib.metadata
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl.model_merger.base_model_merger import parse_args

from entrostat.cli import main
from entrostat.engines.verl.checks import checked_options
from entrostat.engines.verl.settings import check_whole
from entrostat.strategies import make_strategy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "real-runs.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## verl on eight GPUs of 80 GB\n")[1].split("\n## ")[0]
LINES = [shlex.split(line.replace("$PWD", str(ROOT))) for line in SECTION.splitlines() if line.startswith("    ")]


def lines(*words):
    return [line for line in LINES if set(words) <= set(line)]


def option(line, name):
    return line[line.index(name) + 1]


def composed(line):
    """What main_ppo would be given."""
    folder, name = option(line, "--config-path"), option(line, "--config-name")
    overrides = line[line.index(name) + 1 :]
    with initialize_config_dir(folder, version_base=None):
        return compose(name, overrides=overrides)


@pytest.fixture(scope="module")
def configs():
    return [composed(line) for line in lines("verl.trainer.main_ppo")]


def test_the_versions_are_those_that_verls_wheel_asks_for():
    wanted = [text.replace('"', "'") for text in importlib.metadata.requires("verl") or []]
    for name, version, extra in (
        ("vllm", "0.24.0", "vllm"),
        ("torch", "2.11.0", "vllm"),
        ("transformers", "5.9.0", "vllm"),
        ("flash-attn", "2.8.3", "flash-attn-cu130torch211"),
    ):
        assert f"{name}=={version}; extra == '{extra}'" in wanted
        assert version in SECTION
    assert lines("verl[vllm]==" + importlib.metadata.version("verl"))
    assert lines("flash-attn==2.8.3")
    assert "verl/examples" not in {str(file.parent.parent) for file in importlib.metadata.files("verl") or []}


def test_the_two_runs_are_one_recipe_under_two_strategies(configs):
    for config in configs:
        check_whole(config)
    lower, plain = (checked_options(config).make() for config in configs)
    assert lower == make_strategy("clip-lower", low=0.15, high=math.inf)
    assert plain == make_strategy("grpo")
    alike = []
    for config in configs:
        one = copy.deepcopy(config)
        one.actor_rollout_ref.actor.policy_loss.strategy = "one"
        one.actor_rollout_ref.actor.policy_loss.options = {}
        one.trainer.default_local_dir = one.trainer.experiment_name = "one"
        alike.append(OmegaConf.to_container(one, resolve=True))
    assert alike[0] == alike[1]


def test_data_is_written_where_the_runs_read_it(configs, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    (line,) = lines("recipes/verl/data.py")
    folder = Path(line[-1]).expanduser()
    for config in configs:
        assert [config.data.train_files, config.data.val_files] == [
            str(folder / "train.parquet"),
            str(folder / "test.parquet"),
        ]


def test_the_last_checkpoints_are_merged_and_what_is_merged_is_scored(configs, monkeypatch):
    merged = []
    for line, config in zip(lines("verl.model_merger"), configs, strict=True):
        assert config.trainer.resume_mode == "auto"
        assert config.actor_rollout_ref.actor.strategy == "fsdp2"
        monkeypatch.setattr(sys, "argv", line[2:])
        given = parse_args()
        assert (given.operation, given.backend) == ("merge", "fsdp")
        folder = Path(config.trainer.default_local_dir) / f"global_step_{config.trainer.total_training_steps}"
        assert ROOT / given.local_dir == folder / "actor"
        merged.append(given.target_dir)
    scored = [line for line in lines("entrostat", "evaluate") if "--compare" not in line]
    assert [line[2] for line in scored] == merged
    ((_, _, _, *compared),) = lines("--compare")
    assert [option(line, "--out") for line in scored] == compared


def test_the_options_of_evaluate_are_there(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for line in lines("entrostat", "evaluate"):
        assert {word for word in line if word.startswith("--")} <= known


def test_both_runs_log_where_tensorboard_looks(configs):
    assert lines("tensorboard", "--logdir", "tensorboard_log")
    assert all("tensorboard" in config.trainer.logger for config in configs)
    assert len({config.trainer.experiment_name for config in configs}) == 2
