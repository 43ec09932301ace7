"""The options of a run of the lab as TRL's."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig

from entrostat.lab.config import TrainConfig
from entrostat.lab.tasks import make_task


def grpo_config(
    config: TrainConfig, folder: Path, method: Mapping[str, Any] = MappingProxyType({})
) -> GRPOConfig:
    """The lab's options as TRL's; `method`: the fields that the run's method sets."""
    return GRPOConfig(**grpo_fields(config, folder, method))


def grpo_fields(
    config: TrainConfig, folder: Path, method: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of that GRPOConfig. The method's win over those of a recipe file, and
    these over the lab's."""
    # a step of TRL is one optimizer step
    updates = config.updates_per_rollout
    max_completion = config.max_completion
    if not config.dataset:
        max_completion = make_task(config.task).max_completion
    fields: dict[str, Any] = dict(
        output_dir=str(folder),
        max_steps=config.steps * updates,
        per_device_train_batch_size=config.completions_per_pass,
        gradient_accumulation_steps=config.micro_batches,
        steps_per_generation=updates * config.micro_batches,
        num_generations=config.samples,
        max_completion_length=max_completion,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=config.max_grad_norm,
        loss_type=config.loss_type,
        scale_rewards=config.scale_rewards,
        # the source has drawn the problems in the seed's order
        shuffle_dataset=False,
        logging_steps=updates,
        save_steps=config.save_every * updates,
        # the one that state.json names, and the one being written
        save_total_limit=2,
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to=list(config.report_to) or "none",
    )
    return {**fields, **config.grpo, **method}
