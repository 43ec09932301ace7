"""The lab's tokenizer and decoder: character level, at most 0.6M parameters, plain Hugging
Face classes."""

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from entrostat.lab.tasks.base import ModelSize

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
PAD_ID, EOS_ID = 0, 1
CONTEXT = 64
"""Positions that the decoder is built for: prompt and completion together."""
_DEFAULT_SIZE = ModelSize()


def build_tokenizer(alphabet: str) -> PreTrainedTokenizerFast:
    """One token per character of `alphabet`, plus pad, eos and unk; pads on the left, adds
    nothing to a text.

    It is a `Qwen2Tokenizer` without merges, because AutoTokenizer loads that class for
    every folder with a Qwen2 config, whatever class the folder names (transformers 5,
    `MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS`). So it does what that class does with a
    character outside the alphabet: drops it. Decode and compare to find that out. With
    `skip_special_tokens`, decoding drops pad, eos and unk wherever they stand.

    Raises:
        ValueError: `alphabet` repeats a character or has one that is not visible ASCII.
    """
    if len(set(alphabet)) < len(alphabet):
        raise ValueError(
            f"alphabet {alphabet!r} repeats a character; list each one once"
        )
    if not all("!" <= character <= "~" for character in alphabet):
        raise ValueError(
            f"alphabet {alphabet!r} has a character that is not visible ASCII; "
            "leave it out"
        )
    tokens = (PAD, EOS, UNKNOWN, *alphabet)
    return Qwen2Tokenizer(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[],
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=CONTEXT,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, size: ModelSize = _DEFAULT_SIZE
) -> Qwen2ForCausalLM:
    """A Qwen2 decoder for `tokenizer` with random weights and tied embeddings.

    Weights are N(0, 0.02^2), biases 0, norms 1, drawn from a generator of its own: the
    global one does not move.
    """
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )
    # transformers draws weights too, from the global generator
    with torch.random.fork_rng(devices=[]):
        model = Qwen2ForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, config.initializer_range, generator=generator)
    return model
