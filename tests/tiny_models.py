"""Tiny randomly initialised models of the papers' architectures, with byte-level BPE tokenizers trained on the fly."""

import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Olmo2Config, Qwen2Config, Qwen3Config

from entrostat.lab.scratch import train_tokenizer

KINDS = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig, "olmo2": Olmo2Config}


def made_up_text(lines=400, seed=0):
    """Sums and the words around them: what the tiny tokenizers learn their merges from."""
    rng = random.Random(seed)
    names, things = ("Ada", "Ben", "Cleo", "Dan"), ("apples", "books", "coins", "pens")
    for _ in range(lines):
        a, b = rng.randrange(100), rng.randrange(100)
        yield f"{rng.choice(names)} has {a} {rng.choice(things)} and buys {b} more, so the final answer is #### {a + b}"
        yield f"{rng.randrange(9)},{rng.randrange(9)}>{a}=({rng.randrange(9)}*{rng.randrange(9)})-{rng.randrange(9)}"


def tiny_tokenizer(*, chat=True):
    """A byte-level BPE, as Qwen2, Llama 3 and OLMo 2 have: it spells any text."""
    return train_tokenizer(made_up_text(), 320, chat=chat)


def tiny_model(folder: Path, kind: str, *, chat: bool = True, seed: int = 0) -> Path:
    """Writes a model of about 30,000 random parameters and its tokenizer to `folder`; the folder."""
    tokenizer = tiny_tokenizer(chat=chat)
    config = KINDS[kind](
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        tie_word_embeddings=kind != "olmo2",
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
