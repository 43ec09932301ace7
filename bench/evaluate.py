"""Samples a second of `entrostat evaluate` on transformers over those of a plain batched generate call.

    python bench/evaluate.py [--problems 48 --samples 8 --tokens 48 --repeats 7]

Both sample the same prompts from the same random model (vocabulary 32,000, so that texts hardly end before their limit)
in batches of 64 at the same settings. The evaluation is whole: checks, sampling, entropy, verdicts, Parquet and scores;
loading the model is in neither. Repeats alternate in one process; the ratio has a 95% t interval over them.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from entrostat.data.benchmarks import load_benchmark
from entrostat.data.prompts import rendered, worded
from entrostat.estimate import seed_interval
from entrostat.evaluation.on_transformers import BATCH, TransformersBackend
from entrostat.evaluation.presets import PRESETS, Sampling
from entrostat.evaluation.run import evaluate
from entrostat.evaluation.settings import Settings

VOCABULARY = 32_000


def tokenizer() -> Any:
    """Bytes, and made-up words up to the vocabulary's size, which no text has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [f"word{i}" for i in range(VOCABULARY - len(names))]
    bpe = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")


def model() -> Any:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCABULARY, num_key_value_heads=4, eos_token_id=1, **shape))


def plain(made: Any, spelt: Any, prompts: list[str], n: int, sampling: Sampling, tokens: int) -> None:
    """What one would write by hand: prompts in their order, one call a batch."""
    rows = [prompt for prompt in prompts for _ in range(n)]
    for start in range(0, len(rows), BATCH):
        inputs = spelt(rows[start : start + BATCH], return_tensors="pt", padding=True, padding_side="left")
        whole = made.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_new_tokens=tokens,
        )
        spelt.batch_decode(whole[:, inputs["input_ids"].size(1) :], skip_special_tokens=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in {"problems": 48, "samples": 8, "tokens": 48, "repeats": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    made, spelt, rng = model(), tokenizer(), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "b.jsonl"
        rows = [{"id": i, "problem": "x" * rng.randrange(20, 200), "answer": 1} for i in range(args.problems)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        benchmark = load_benchmark(str(file))
        backend = TransformersBackend(made, spelt)
        prompts = [rendered(spelt, worded("boxed", row["problem"])) for row in rows]
        for name, sampling in PRESETS.items():
            ratios = []
            for repeat in range(args.repeats + 1):
                start = time.perf_counter()
                plain(made, spelt, prompts, args.samples, sampling, args.tokens)
                middle = time.perf_counter()
                settings = Settings("bench", args.samples, sampling, args.tokens)
                evaluate(Path(folder) / f"{name}-{repeat}", [benchmark], settings, lambda: backend)
                ratios.append((middle - start) / (time.perf_counter() - middle))
            # the first of each is a warm-up
            ratio = seed_interval(np.array(ratios[1:]))
            print(f"{name}: evaluate / plain, samples a second: {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]")


if __name__ == "__main__":
    main()
