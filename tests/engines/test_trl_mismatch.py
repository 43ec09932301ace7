"""The synchronous engine where another program samples: its mismatch is measured once a rollout."""

import math

import pytest
import torch
from tiny_trl import logged
from trl import GRPOTrainer

from entrostat.engines.trl import EntropyControlMixin


class Elsewhere(GRPOTrainer):
    """Its rollouts come with log-probabilities, as vLLM's do: rough ones, and one that is not there."""

    def _generate(self, prompts):
        given = list(super()._generate(prompts))
        given[4] = [[-0.1 * (i % 5) for i in range(len(ids))] for ids in given[1]]
        given[4][0][0] = None
        return tuple(given)


class Mine(EntropyControlMixin, Elsewhere):
    rollout: dict

    def _generate_and_score_completions(self, inputs):
        self.rollout = super()._generate_and_score_completions(inputs)
        return self.rollout


def test_a_rollout_of_another_program_has_its_mismatch_logged(lab):
    made = lab.trainer(Mine, args=lab.config(max_steps=1, logging_steps=1), strategy=None)
    made.train()
    mask = made.rollout["completion_mask"].bool()
    gaps = (made.rollout["old_per_token_logps"] - made.rollout["sampling_per_token_logps"])[mask]
    gaps = gaps[~torch.isnan(gaps)].double()
    assert len(gaps) == int(mask.sum()) - 1
    (line,) = logged(made, "entrostat/mismatch")
    assert line["entrostat/mismatch"] == pytest.approx(float(gaps.abs().mean()), rel=1e-5)
    assert line["entrostat/mismatch_rms"] == pytest.approx(float(gaps.square().mean().sqrt()), rel=1e-5)
    assert line["entrostat/mismatch_bias"] == pytest.approx(float(gaps.expm1().mean()), rel=1e-5)
    error = float(gaps.expm1().square().mean().sqrt()) / math.sqrt(len(gaps))
    assert line["entrostat/mismatch_bias_error"] == pytest.approx(error, rel=1e-5)
    assert "entrostat/mismatch_clipped" not in line


def test_a_rollout_of_the_trainers_own_has_none(lab):
    made = lab.trainer(args=lab.config(max_steps=1, logging_steps=1), strategy=None)
    made.train()
    assert not logged(made, "entrostat/mismatch")
