"""`entrostat train --advantage gae`: a run of PPO, killed and resumed, and options that do not fit."""

import json

import pytest

PPO = ("--advantage", "gae", "--gae-lambda", "0.95", "--critic-learning-rate", "1e-3")


def test_a_killed_run_resumes_to_the_same_numbers_with_its_critic(command):
    command.run("train", *command.small, *PPO, "--out", "whole", "thermostat")
    lines = command.lines("whole")
    assert len(lines) == 6
    assert all(line["value_loss"] > 0 for line in lines)
    assert lines[0]["explained_variance"] == 0.0
    assert len({line["explained_variance"] for line in lines}) == 6
    half = 3 * len(json.dumps(lines[0]))
    command.kill("train", *command.small, *PPO, "--out", "killed", "thermostat", when="killed/metrics.jsonl", size=half)
    command.run("train", "--resume", "killed")
    for name in ("metrics.jsonl", "checkpoint/model.safetensors", "scores-end.json"):
        assert command.bytes("killed", name) == command.bytes("whole", name)
    config = json.loads(command.bytes("whole", "config.json"))
    assert config["label"] == "thermostat, gae, gae_lambda 0.95, critic_learning_rate 0.001"
    assert (config["advantage"], config["gae_lambda"], config["critic_learning_rate"]) == ("gae", 0.95, 1e-3)


def test_the_first_rollout_is_that_of_grpo_and_what_is_learnt_of_it_is_not(command):
    command.run("train", *command.small, "--reward", "normal", "--out", "group", "grpo")
    command.run("train", *command.small, "--reward", "normal", "--advantage", "gae", "--out", "gae", "grpo")
    group, gae = command.lines("group"), command.lines("gae")
    for key in ("entropy", "reward", "completion_length"):
        assert group[0][key] == gae[0][key]
    assert group[1]["entropy"] != gae[1]["entropy"]
    assert "value_loss" not in group[0]


def test_without_scaling_advantages_are_centred_alone(command):
    """Values are 0 still: all advantages, and so all changes of entropy, differ by one factor, their deviation."""
    once = ("--steps", "1", "--advantage", "gae", "--reward", "normal", "--updates-per-rollout", "1", "thermostat")
    for name in ("group", "none"):
        command.run("train", *command.small, "--scale-rewards", name, "--out", name, *once)
    scaled, plain = (command.lines(name)[0] for name in ("group", "none"))
    assert scaled["reward"] == plain["reward"]
    first, *others = (plain[f"E{i}/change_kept"] / scaled[f"E{i}/change_kept"] for i in range(1, 5))
    assert abs(first - 1) > 0.01
    assert others == pytest.approx([first] * 3, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gae-lambda", "0.9"), "--gae-lambda 0.9 needs --advantage gae: there is no critic without it"),
        (("--critic-learning-rate", "1"), "--critic-learning-rate 1.0 needs --advantage gae: there is no critic"),
        (("--advantage", "gae", "--gae-gamma", "1.5"), "--gae-gamma must be in [0, 1], got 1.5"),
        (("--advantage", "gae", "--gae-lambda", "-1"), "--gae-lambda must be in [0, 1], got -1.0"),
        (("--advantage", "gae", "--critic-learning-rate", "0"), "--critic-learning-rate must be over 0, got 0.0"),
        (("--advantage", "ppo"), "advantage"),
    ],
)
def test_options_that_do_not_fit_are_one_line(command, options, message):
    said = command.run("train", *options, "grpo", code=2).stderr.strip()
    assert message in said
    assert "\n" not in said
    assert not list(command.folder.iterdir())
