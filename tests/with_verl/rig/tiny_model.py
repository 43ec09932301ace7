"""A random Qwen2 with a byte-level tokenizer, made on the fly.

transformers loads a BPE tokenizer for model type qwen2 whatever was saved, and verl's Qwen chat builder wants "\\n" and
"<|im_end|>" to be one token each: a byte-level BPE without merges does both.
"""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, Qwen2ForTokenClassification

SPECIAL = ["<pad>", "<|im_end|>", "<|im_start|>"]
VOCABULARY = len(SPECIAL) + 256
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(path, seed=0, critic=False):
    """Writes model and tokenizer. A critic has its value head too: one that verl drew would be another in each run."""
    vocab = {t: i for i, t in enumerate(SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        initializer_range=0.2,
    )
    if critic:
        config.num_labels = 1
    (Qwen2ForTokenClassification if critic else Qwen2ForCausalLM)(config).save_pretrained(path)
    fast.save_pretrained(path)
    return str(path)
