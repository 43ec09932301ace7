"""recipes/accelerate: the files as the installed accelerate and TRL read, build and check them. No GPU is needed."""

import runpy
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from trl import GRPOConfig

from entrostat import make_strategy
from entrostat.doctor import Source, findings, settings
from entrostat.engines.checks import check_can_act, updates_per_rollout

RECIPES = Path(__file__).parents[1] / "recipes" / "accelerate"


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(RECIPES / "grpo_7b.py"))


def launched(name):
    """accelerate's own reading of the file: the arguments that its launcher goes by."""
    args = launch_command_parser().parse_args(["--config_file", str(RECIPES / name), "grpo_7b.py"])
    return _validate_launch_command(args)[0]


def test_fsdp2_is_what_accelerate_builds_from_the_file(monkeypatch):
    assert load_config_from_file(str(RECIPES / "fsdp2.yaml")).num_processes == 8
    args = launched("fsdp2.yaml")
    assert (args.use_fsdp, args.use_deepspeed, args.mixed_precision) == (True, False, "bf16")
    for key, value in prepare_multi_gpu_env(args).items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert type(plugin.cpu_offload).__name__ == "OffloadPolicy"


def test_zero_3_is_what_accelerate_sets_for_deepspeed():
    args = launched("zero3.yaml")
    assert (args.use_fsdp, args.use_deepspeed, args.mixed_precision) == (False, True, "bf16")
    args.deepspeed_fields_from_accelerate_config = ""
    _, env = prepare_deepspeed_cmd_env(args)
    assert env["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert env["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert env["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


def test_trl_takes_the_scripts_config_and_the_thermostat_can_act(recipe, monkeypatch, tmp_path):
    # what only a GPU takes is left out; the batches are those of 8 processes
    changes = {"use_cpu": True, "bf16": False, "use_vllm": False, "output_dir": str(tmp_path)}
    monkeypatch.setattr(GRPOConfig, "world_size", property(lambda self: 8))
    args = GRPOConfig(**{**recipe["CONFIG"], **changes})
    assert args.generation_batch_size == 64 * 16
    assert updates_per_rollout(args) == 8
    check_can_act(args, make_strategy("thermostat", target="0.4x"))


def test_the_doctor_finds_nothing_in_the_script(recipe):
    config = settings(Source("grpo_7b.py", recipe["CONFIG"]))
    assert findings(config, make_strategy("thermostat"), processes=8) == []


def test_the_scripts_reward(recipe):
    texts = [r"so \boxed{12}", r"\boxed{12} or \boxed{13}", "12", r"\boxed{ 12 }"]
    assert recipe["boxed"](texts, ["12"] * 4) == [1.0, 0.0, 0.0, 1.0]
