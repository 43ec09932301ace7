"""The model that a run starts from, and its tokenizer."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from entrostat.lab.config import TrainConfig
from entrostat.lab.find_model import find_model
from entrostat.lab.tasks import make_task
from entrostat.texts import first_line


def load_tokenizer(config: TrainConfig) -> Any:
    """The model's tokenizer, padding on the left. ValueError, one line, where there is
    none."""
    source = _source(config)
    if not Path(source).is_dir():
        find_model(source, "--model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    except Exception as error:
        raise ValueError(
            f"no tokenizer in {source!r} ({first_line(error)}): --model needs one"
        ) from None
    prompt = _a_prompt(config)
    # transformers makes an empty tokenizer for a folder that has none
    if not tokenizer(prompt)["input_ids"] or tokenizer.eos_token_id is None:
        raise ValueError(
            f"no tokenizer in {source!r} that can spell {prompt!r} and end a text: "
            "--model needs one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_weights(config: TrainConfig) -> Any:
    """The model in float32. ValueError, one line, where there is none."""
    source = _source(config)
    try:
        return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    except Exception as error:
        raise ValueError(
            f"no causal language model in {source!r} ({first_line(error)}): "
            "--model needs one"
        ) from None


def load_model(config: TrainConfig) -> tuple[Any, Any]:
    """The model in float32 and its tokenizer. ValueError, one line, where either is
    missing."""
    tokenizer = load_tokenizer(config)
    return load_weights(config), tokenizer


def _source(config: TrainConfig) -> str:
    """Folder or hub name of the model."""
    return config.model or str(make_task(config.task).base_model)


def _a_prompt(config: TrainConfig) -> str:
    """A text that the tokenizer must be able to spell."""
    if config.dataset:
        # a data set has a check of its own prompts
        return "1"
    return make_task(config.task).problems(1, split="train", seed=0)[0].prompt
