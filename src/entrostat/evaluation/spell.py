"""Prompts as the model gets them: worded as the benchmark's paper does, in the model's chat template, as token ids."""

from typing import Any

from entrostat.data.benchmarks import Benchmark
from entrostat.data.prompts import rendered, unspelt, worded
from entrostat.evaluation.backend import Backend


def spell(backend: Backend, benchmark: Benchmark) -> list[list[int]]:
    """The prompt of each question as token ids.

    Raises:
        ValueError: one that the tokenizer can't spell, or that leaves the context no token for an answer.
    """
    tokenizer: Any = backend.tokenizer
    prompts = [
        rendered(tokenizer, worded(benchmark.prompt, question.problem))
        for question in benchmark.questions
    ]
    where = str(benchmark.path or benchmark.name)
    lost = unspelt(tokenizer, prompts)
    if lost is not None:
        character, prompt = lost
        key = benchmark.questions[prompts.index(prompt)].id
        raise ValueError(
            f"{where}, problem {key[:80]!r}: the model's tokenizer can't spell {character!r}: give a model whose can"
        )
    ids = [list(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    if backend.context is not None:
        for question, one in zip(benchmark.questions, ids, strict=True):
            if len(one) >= backend.context:
                raise ValueError(
                    f"{where}, problem {question.id[:80]!r}: its prompt has {len(one)} tokens, the model's context "
                    f"{backend.context}: leave it out, or give a model with a longer one"
                )
    return ids
