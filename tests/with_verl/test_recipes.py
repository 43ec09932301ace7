"""recipes/verl through verl's own composition and dataclasses, and through the plug-in's checks."""

import math
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from verl.utils.config import omega_conf_to_dataclass

from entrostat.engines.verl.checks import checked_options

FOLDER = Path(__file__).parents[2] / "recipes" / "verl"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def composed(name):
    with initialize_config_dir(str(FOLDER), version_base=None):
        return compose(config_name=name)


def test_there_are_recipes():
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_configuration_of_verl_that_the_plug_in_takes(name):
    config = composed(name)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert actor.optim.lr == config.actor_rollout_ref.actor.optim.lr
    options = checked_options(config)
    strategy = options.make()
    expected = name.rsplit("-", 1)[1] if name.startswith("2602") else "grpo" if "random" in name else "clip-lower"
    assert options.strategy == expected
    if expected == "clip-lower":
        assert (strategy.low, strategy.high) == (0.15, math.inf)
    # whole groups on each of 8 GPUs, in rollout and update
    data, rollout = config.data, config.actor_rollout_ref.rollout
    assert data.train_batch_size % actor.ppo_mini_batch_size == 0
    assert actor.ppo_mini_batch_size * rollout.n % 8 == 0
    assert config.trainer.v1.trainer_mode == "entrostat"
    assert rollout.response_length == data.max_response_length
    if "random" in name:
        assert (FOLDER / config.reward.custom_reward_function.path).is_file()
        assert config.algorithm.norm_adv_by_std_in_grpo is False
