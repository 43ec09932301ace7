"""Under constant bounds the engine is stock TRL: same parameters, same losses, same metrics."""

import math

import pytest
import torch

from entrostat import make_strategy
from entrostat.engines.trl import PREFIX
from entrostat.lab.rewards import make_reward

TIMED = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def history(trainer):
    return [
        {k: v for k, v in line.items() if not k.startswith(PREFIX) and k not in TIMED}
        for line in trainer.state.log_history
    ]


def run(trainer, lab):
    trainer.train()
    return lab.parameters(trainer), history(trainer)


def assert_same(mine, stock, tolerance):
    (mine, my_log), (theirs, their_log) = mine, stock
    gap = max(float((mine[k] - theirs[k]).abs().max()) for k in theirs)
    assert gap <= tolerance
    assert len(my_log) == len(their_log)
    for a, b in zip(my_log, their_log, strict=True):
        assert a.keys() == b.keys()
        for key, value in b.items():
            assert a[key] == pytest.approx(value, rel=1e-5, abs=1e-7, nan_ok=True), key


def clipped(log):
    return sum(line.get("clip_ratio/region_mean", 0.0) for line in log)


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo"])
def test_twenty_steps_are_stock_trls(lab, loss_type):
    args = {"loss_type": loss_type, "epsilon": 0.2, "epsilon_high": 0.28}
    stock = run(lab.trainer(lab.stock, args=lab.config(**args)), lab)
    mine = run(lab.trainer(args=lab.config(loss_type=loss_type), strategy="clip-higher"), lab)
    assert clipped(stock[1]) > 0.05, "nothing was clipped: this compared two losses without a clip"
    assert_same(mine, stock, 1e-6)


@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [
        ({"num_iterations": 2, "steps_per_generation": 4}, 0.1, 0.1),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, 0.05, 0.3),
        ({"beta": 0.04}, 0.1, 0.1),
        ({"delta": 1.5}, 0.1, 0.1),
        ({"scale_rewards": "none", "mask_truncated_completions": True}, 0.1, 0.1),
        ({"top_entropy_quantile": 0.5}, 0.1, 0.1),
        ({"loss_type": "luspo", "importance_sampling_level": "sequence"}, 0.01, 0.01),
        ({"loss_type": "grpo", "importance_sampling_level": "sequence"}, 0.01, 0.01),
        ({"epsilon": 1.0, "epsilon_high": math.inf}, 1.0, math.inf),
    ],
    ids=lambda v: "-".join(map(str, v)) if isinstance(v, dict) else str(v),
)
def test_parity_under_other_options(lab, changes, low, high):
    changes = {"max_steps": 8, **changes}
    stock = run(lab.trainer(lab.stock, args=lab.config(**{"epsilon": low, "epsilon_high": high, **changes})), lab)
    mine = run(lab.trainer(args=lab.config(**changes), strategy=make_strategy("grpo", low=low, high=high)), lab)
    assert low == 1.0 or clipped(stock[1]) > 0.005
    assert_same(mine, stock, 1e-6)


def test_other_bounds_give_other_parameters(lab):
    """An engine that set nothing would pass every test above."""
    args, reward = {"max_steps": 12}, make_reward("bernoulli:0.5", lab.task, 0)
    stock, _ = run(lab.trainer(lab.stock, args=lab.config(**args), reward=reward), lab)
    for name in ("clip-lower", "id", "did", "od"):
        mine, _ = run(lab.trainer(args=lab.config(**args), strategy=name, reward=reward), lab)
        assert max(float((mine[k] - stock[k]).abs().max()) for k in stock) > 1e-5, name


def test_clip_metrics_agree_with_trls_own(lab):
    """TRL averages its shares over micro-batches; with equally many tokens in each they are the engine's."""
    reward = lambda completions, **_: [float(i % 2) for i in range(len(completions))]  # noqa: E731
    config = lab.config(max_steps=8, logging_steps=1)
    trainer = lab.trainer(args=config, strategy=make_strategy("grpo", low=0.05, high=0.1), reward=reward)
    trainer.train()
    lines = [line for line in trainer.state.log_history if PREFIX + "clip_low" in line]
    assert len(lines) == 8
    for line in lines:
        assert line[PREFIX + "clip_low"] == pytest.approx(line["clip_ratio/low_mean"], abs=1e-7)
        assert line[PREFIX + "clip_high"] == pytest.approx(line["clip_ratio/high_mean"], abs=1e-7)
    assert sum(line[PREFIX + "clip_low"] for line in lines) > 0
    assert sum(line[PREFIX + "clip_high"] for line in lines) > 0


def test_torchs_global_generator_moves_as_in_stock_trl(lab):
    def end(kind, **extra):
        trainer = lab.trainer(kind, args=lab.config(max_steps=4), **extra)
        trainer.train()
        return torch.get_rng_state()

    assert torch.equal(end(lab.stock), end(lab.trainer.__defaults__[0], strategy="grpo"))
