"""The tiny lab trainer, and its loss with log-ratios of our choice."""

from types import SimpleNamespace

import pytest
import torch
from engines.conftest import lab  # noqa: F401
from trl import GRPOTrainer


class Probe(GRPOTrainer):
    """TRL's own `_compute_loss`, with log-probabilities that are given in place of a model's."""

    def _get_per_token_logps_and_entropies(self, model, input_ids, *args, **kwargs):
        return self.given, torch.full_like(self.given, 0.5).detach(), None


@pytest.fixture
def loss(lab):  # noqa: F811
    """Per-token gradient, loss and metrics of TRL's loss, by log-ratio and advantage (b t), under GRPOConfig fields."""

    def run(logratio, advantages, **fields):
        # a batch as large as the rollout: its parts have no meaning here
        trainer = lab.trainer(Probe, args=lab.config(**fields))
        trainer.given = torch.full_like(logratio, -1.0).requires_grad_()
        b, t = logratio.shape
        ids, mask = torch.zeros(b, t, dtype=torch.long), torch.ones(b, t)
        inputs = {
            "prompt_ids": ids,
            "prompt_mask": mask,
            "completion_ids": ids,
            "completion_mask": mask,
            "advantages": advantages,
            "old_per_token_logps": -1.0 - logratio,
            "num_items_in_batch": mask.sum(),
        }
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        value = trainer._compute_loss(trainer.model, inputs)
        (gradient,) = torch.autograd.grad(value, trainer.given)
        metrics = {name: seen[0] for name, seen in trainer._metrics["train"].items()}
        return SimpleNamespace(value=value.item(), gradient=gradient, metrics=metrics)

    return run
