"""The model that a run starts from, and its tokenizer."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from entrostat.lab.config import TrainConfig
from entrostat.lab.tasks import make_task


def load_tokenizer(config: TrainConfig) -> Any:
    """The model's tokenizer, padding on the left. ValueError, one line, where there is none."""
    source = _source(config)
    # what can only be a folder is not looked up on the hub
    if not Path(source).is_dir() and (
        source.count("/") > 1 or source.startswith((".", "/", "~"))
    ):
        raise ValueError(
            f"--model {source!r} is no folder: give a folder with a model and its tokenizer, or a hub name"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    except Exception as error:
        raise ValueError(
            f"no tokenizer in {source!r} ({first_line(error)}): --model needs one"
        ) from None
    # a data set has a check of its own
    prompt = (
        "1"
        if config.dataset
        else make_task(config.task).problems(1, split="train", seed=0)[0].prompt
    )
    # transformers makes an empty tokenizer for a folder that has none
    if not tokenizer(prompt)["input_ids"] or tokenizer.eos_token_id is None:
        raise ValueError(
            f"no tokenizer in {source!r} that can spell {prompt!r} and end a text: --model needs one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(config: TrainConfig) -> tuple[Any, Any]:
    """The model in float32 and its tokenizer. ValueError, one line, where either is missing."""
    tokenizer = load_tokenizer(config)
    source = _source(config)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    except Exception as error:
        raise ValueError(
            f"no causal language model in {source!r} ({first_line(error)})"
        ) from None
    return model, tokenizer


def _source(config: TrainConfig) -> str:
    return config.model or str(make_task(config.task).base_model)


def first_line(error: Exception) -> str:
    """What a library says, without its advice."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
