"""A tokenizer and a decoder from nothing, where no hub is: byte-level BPE on given texts,
Qwen2 with random weights."""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

PAD, TURN, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2's template, without its system turn."""


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, *, chat: bool = True
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with merges learnt from `texts`; it spells any text.

    Pads on the left. It has a chat template unless `chat` is False.
    """
    bpe = Tokenizer(models.BPE())
    # tokenizers' type stubs leave these two attributes out
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, TURN, EOS],
        # all bytes, not those of the texts alone: any text can be spelt
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=EOS, padding_side="left"
    )
    if chat:
        tokenizer.chat_template = CHATML
    return tokenizer


def random_model(
    tokenizer: Any, *, hidden: int, layers: int, mlp: int, heads: int, seed: int = 0
) -> Qwen2ForCausalLM:
    """A Qwen2 of that shape with tied embeddings, half as many key heads, and weights
    drawn from `seed`."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # transformers draws weights from the global generator, which must not move
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config)
