"""Random rewards are those of `random.Random`, drawn in order from a key."""

import random
from types import SimpleNamespace

import pytest

from entrostat.lab.blind import check_reward, random_rewards
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")
BERNOULLI = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
NORMAL = [1.7072507446616192, -0.9913353618969568, -1.6485492693508366]


def drawn(reward, seed, step, count, **ranks):
    state = SimpleNamespace(global_step=step)
    return make_reward(reward, TASK, seed, **ranks)(
        prompts=["1"] * count, completions=["x"] * count, trainer_state=state
    )


@pytest.mark.parametrize(("reward", "chance"), [("bernoulli:0.5", 0.5), ("bernoulli:.3", 0.3), ("bernoulli:1", 1.0)])
def test_bernoulli_rewards_are_the_generators_draws(reward, chance):
    rng = random.Random(f"{reward}/3/7")
    assert drawn(reward, 3, 7, 40) == [float(rng.random() < chance) for _ in range(40)]


def test_normal_rewards_are_the_generators_draws():
    rng = random.Random("normal/0/12")
    assert drawn("normal", 0, 12, 40) == [rng.gauss(0.0, 1.0) for _ in range(40)]


def test_the_first_draws_of_a_run_stay_what_they_were():
    """Values of random.Random("bernoulli:0.5/0/0") and ("normal/0/0"): a resumed run draws the same."""
    assert drawn("bernoulli:0.5", 0, 0, 12) == BERNOULLI
    assert drawn("normal", 0, 0, 3) == pytest.approx(NORMAL, rel=1e-12)


def test_ranks_share_one_draw():
    whole = drawn("normal", 1, 2, 8)
    assert [x for rank in (0, 1) for x in drawn("normal", 1, 2, 4, rank=rank, ranks=2)] == whole


def test_draws_depend_on_the_key_alone():
    assert random_rewards("normal", 3, "a") == random_rewards("normal", 5, "a")[:3]
    assert random_rewards("normal", 3, "a") != random_rewards("normal", 3, "b")


@pytest.mark.parametrize("reward", ["true", "normal", "bernoulli:0", "bernoulli:1.0", "bernoulli:.25", "bernoulli:0.5"])
def test_known_rewards_pass(reward):
    check_reward(reward)


@pytest.mark.parametrize(
    "reward", ["", "bernoulli", "bernoulli:1.5", "bernoulli:-0.1", "bernoulli:nan", "Normal", "true "]
)
def test_unknown_rewards_are_refused(reward):
    with pytest.raises(ValueError, match="use true, normal, or bernoulli:P"):
        check_reward(reward)
