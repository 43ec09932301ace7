"""Which weights a run trains, and how the whole model comes out of it: adapters merged,
shards gathered."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch

from entrostat.lab.config import TrainConfig
from entrostat.lab.options import option
from entrostat.lab.run import Run

_WHOLE_MODEL = ("eval_problems", "probe_every", "lora_rank")
"""Options that need the whole model on one device."""


def is_sharded() -> bool:
    """Whether the launcher divides the model over the ranks: FSDP, DeepSpeed."""
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"):
        if os.environ.get(name, "").lower() in ("1", "true"):
            return True
    return False


def check_weights(config: TrainConfig) -> None:
    """ValueError where adapters were asked for and peft is missing, or for what a sharded
    model cannot do."""
    if config.lora_rank and importlib.util.find_spec("peft") is None:
        raise ValueError("--lora-rank needs peft: pip install 'entrostat[peft]'")
    if not is_sharded():
        return
    for name in _WHOLE_MODEL:
        value = getattr(config, name)
        if value != 0:
            raise ValueError(
                f"{option(name)} {value} needs the whole model on one device, which FSDP "
                "and DeepSpeed divide: set it to 0 (score the checkpoint with entrostat "
                "evaluate)"
            )


def placed(model: Any) -> Any:
    """The model where it is scored and trained: on this rank's GPU, if there is one and it
    is not to be sharded."""
    if torch.cuda.is_available() and not is_sharded():
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        return model.to(torch.device("cuda", rank))
    return model


def adapters(config: TrainConfig) -> Any:
    """peft's LoraConfig for the run, or None."""
    if not config.lora_rank:
        return None
    # an extra that most runs do without
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 2 * config.lora_rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def save(
    trainer: Any, tokenizer: Any, run: Run, first: Callable[[Callable[[], Any]], Any]
) -> Any:
    """Writes the trained model as the run's checkpoint/, and gives it: adapters merged
    into it, shards gathered.

    All ranks must call it; `first` does on rank 0 alone what it is given
    (entrostat.lab.ranks).
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if is_sharded():
        aside = first(run.clear_aside)
        # on all ranks: each gives its shards
        trainer.save_model(str(aside))
        first(lambda: run.keep_aside(tokenizer))
        return model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    first(lambda: run.save_model(model, tokenizer))
    return model
