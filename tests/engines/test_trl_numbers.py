"""Numbers that are none: logits of -inf are no trouble, everything else stops the run in one line."""

import logging
import math

import pytest
import torch
from torch import nn
from transformers import TrainerCallback
from trl.trainer.utils import disable_dropout_in_model

from entrostat.engines.dropout import dropout_warning
from entrostat.engines.reward_error import RewardError
from entrostat.engines.summary import summarise
from entrostat.engines.trl import PREFIX
from entrostat.strategies.thermostat import Thermostat

BARRED = 3
"""Tokens that no completion of the task has, at the end of the vocabulary: , > ="""


def barred(trainer, value):
    bias = torch.zeros(trainer.model.config.vocab_size)
    bias[-BARRED:] = value
    trainer.model.lm_head.bias = nn.Parameter(bias)
    return trainer


def ours(trainer):
    lines = [{k: v for k, v in line.items() if k.startswith(PREFIX)} for line in trainer.state.log_history]
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("changes", "tilt"), [({}, "surprisal"), ({"steps_per_generation": 2, "gradient_accumulation_steps": 2}, "bracket")]
)
def test_a_head_with_logits_of_minus_infinity_is_as_one_with_very_low_ones(lab, changes, tilt):
    """1e-4343 is 0 in any float: both heads are the same policy. TRL takes the old pass in the first case, we in the
    second."""
    runs = []
    for value in (-1e4, -math.inf):
        args = lab.config(max_steps=4, logging_steps=1, **changes)
        runs.append(barred(lab.trainer(args=args, strategy=Thermostat(tilt=tilt), attribution_share=0.5), value))
        runs[-1].train()
    finite, infinite = runs
    assert infinite.controller_state.measured == infinite.controller_state.rollouts > 0
    for field, value in finite.controller_state._asdict().items():
        assert getattr(infinite.controller_state, field) == pytest.approx(value, rel=1e-4, abs=1e-6), field
    for mine, want in zip(ours(infinite), ours(finite), strict=True):
        assert mine == pytest.approx(want, rel=1e-3, abs=1e-5)
    entropy = [line["entropy"] for line in infinite.state.log_history if "entropy" in line]
    assert all(value > 0 for value in entropy)  # TRL's own metric too


def test_trls_entropy_bonus_over_such_a_head_is_refused(lab):
    trainer = barred(lab.trainer(args=lab.config(max_steps=4, entropy_coef=0.01), strategy="grpo"), -math.inf)
    with pytest.raises(RuntimeError, match=r"^TRL's entropy bonus .* replace -inf in the LM head by .* -1e4.*$"):
        trainer.train()


def test_only_a_rollout_without_trained_tokens_has_an_entropy_of_nan():
    place = {"group": 1, "progress": 0.0, "updates": 1, "ceiling": 3.0}
    assert math.isnan(summarise(torch.zeros(2, 4), **place).entropy)
    for value in (math.nan, math.inf):
        sums = torch.tensor([[3.0, 1.2, 0.5, 3.0], [2.0, value, 0.5, 2.0]])
        with pytest.raises(ValueError, match=rf"^the rollout's entropy is {value}: .*learning_rate.*-1e4$"):
            summarise(sums, **place)


class Breaks(TrainerCallback):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step == self.at:
            with torch.no_grad():
                model.lm_head.weight[0, 0] = math.nan


@pytest.mark.parametrize(("at", "what"), [(2, "the loss is nan"), (4, "a weight is nan")])
def test_a_run_that_diverges_says_so_and_what_to_do(lab, at, what):
    """Within a rollout the loss shows it; after it the sampler fails, on a tensor of probabilities."""
    trainer = lab.trainer(args=lab.config(max_steps=8), strategy="id", callbacks=[Breaks(at)])
    with pytest.raises(RuntimeError) as error:
        trainer.train()
    assert str(error.value).startswith(
        f"at update {at} {what}: the run has diverged; resume from an earlier checkpoint"
    )
    assert "\n" not in str(error.value)


def test_another_error_of_the_sampler_stays_what_it_is(lab):
    trainer = barred(lab.trainer(args=lab.config(max_steps=4), strategy="id"), -math.inf)

    def fails(*_args, **_kwargs):
        raise RuntimeError("no memory")

    trainer.model.generate = fails
    with pytest.raises(RuntimeError, match=r"^no memory$"):
        trainer.train()


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ("0.5", "returned '0.5' for"),
        ("a\x1b[31m" * 40, r"returned 'a.x1b.*\.\.\. for"),
        (torch.eye(2), r"returned 'tensor.*' for"),
    ],
)
def test_a_reward_that_is_no_number_names_its_function(lab, got, said):
    def graded(completions, **_):
        return [got] * len(completions)

    trainer = lab.trainer(args=lab.config(max_steps=4), strategy="grpo", reward=graded)
    with pytest.raises(RewardError, match=rf"^reward function 'graded' {said} prompt") as error:
        trainer.train()
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_a_run_of_no_updates_is_refused(lab):
    trainer = lab.trainer(args=lab.config(max_steps=0), strategy="id")
    with pytest.raises(ValueError, match=r"^max_steps=0 trains nothing: set the number of updates, or -1 for"):
        trainer.train()


# Dropout


def dropping(lab, *, attention=0.0, layers=0.0, **changes):
    """A run at a learning rate of 0 and a tight window, of a model with dropout."""
    trainer = lab.trainer(args=lab.config(max_steps=4, learning_rate=0.0, **changes), strategy="clip-lower")
    for module in trainer.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = attention
    if layers:
        trainer.model.model.norm = nn.Sequential(trainer.model.model.norm, nn.Dropout(layers))
    return trainer


@pytest.mark.parametrize(
    ("rates", "cures"),
    [
        ({"attention": 0.1}, ["load the model with attention_dropout=0.0, which disable_dropout=True does not reach"]),
        ({"layers": 0.1}, ["set GRPOConfig(disable_dropout=True)"]),
        ({}, []),
    ],
)
def test_dropout_clips_without_learning_and_is_told_once(lab, caplog, rates, cures):
    trainer = dropping(lab, **rates)
    with caplog.at_level(logging.WARNING, logger="entrostat"):
        trainer.train()
    told = [record.getMessage() for record in caplog.records if record.name.startswith("entrostat")]
    (line,) = ours(trainer)
    assert (line[PREFIX + "clip_low"] + line[PREFIX + "clip_high"] > 0.02) == bool(rates)
    assert len(told) == len(cures)
    for sentence, cure in zip(told, cures, strict=True):
        assert sentence.startswith("the model has dropout on: ") and sentence.endswith(cure)


def test_what_disable_dropout_of_trl_reaches(lab):
    """It sets the rate of layers to 0, and leaves that of the attention, which is a number."""
    trainer = dropping(lab, attention=0.1, layers=0.1)
    both = "set GRPOConfig(disable_dropout=True) and load the model with attention_dropout=0.0, which"
    assert both in dropout_warning(trainer.args, trainer.model)
    disable_dropout_in_model(trainer.model)
    assert "GRPOConfig" not in dropout_warning(trainer.args, trainer.model)
    config = trainer.model.config
    config.attention_dropout = 0.0
    assert dropout_warning(trainer.args, type(trainer.model)(config)) is None


def test_dropout_is_not_told_where_every_ratio_is_one(lab, caplog):
    once = {"steps_per_generation": 2, "gradient_accumulation_steps": 2}
    trainer = lab.trainer(args=lab.config(max_steps=2, **once), strategy="thermostat")
    for module in trainer.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.1
    trainer.train()
    assert not [record for record in caplog.records if record.name.startswith("entrostat")]
