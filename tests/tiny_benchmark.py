"""A tiny Qwen2 that has whole boxes in its vocabulary, so that a random model is right now and then."""

import json

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CONTEXT = 256


def made_up_model(folder, *, seed=0):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    tokenizer.add_tokens([f" \\boxed{{{i % 3}}}" + " " * (i // 3) for i in range(30)])
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight *= 8
        model.lm_head.weight[1] *= 3  # so that some texts end
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_benchmark(path, problems=7):
    rows = [{"id": f"q{i}", "problem": "Count " + "x" * (3 * i % 7), "answer": i % 3} for i in range(problems)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
