"""Where one answer in fifteen is right, few groups have an advantage, and all pressure acts through them."""

import statistics

import pytest

CHAIN = ("--engine", "fast", "--task", "chain", "--learning-rate", "2e-4", "--prompts", "16", "--map-every", "0")
SCORED = ("--steps", "40", "--eval-problems", "2", "--eval-samples", "1", "--seed", "5")


@pytest.mark.slow
@pytest.mark.parametrize(
    "pressed",
    [
        # a floor that is out of reach, so that the pressure rises to its limit and stays there
        ("thermostat", "--target", "2.0"),
        # a target that is out of reach from above
        ("thermostat", "--target", "0.02", "--hold", "both"),
    ],
)
def test_the_policy_survives_all_the_pressure_there_is(command, pressed):
    command.run("train", *CHAIN, *SCORED, "--out", "run", *pressed)
    lines = command.lines("run")
    rewards = [line["reward"] for line in lines]
    assert statistics.fmean(rewards[:10]) < 0.15
    assert statistics.fmean(rewards[-10:]) > 0.5 * statistics.fmean(rewards[:10])
    assert all(0.05 < line["entropy"] < 0.6 for line in lines)
    pressures = [line["pressure"] for line in lines]
    if "both" in pressed:
        # bounded by the share of tokens with an advantage, which is a third here
        assert -1.0 < min(pressures) < -0.1
    else:
        assert max(pressures) == 1.5
