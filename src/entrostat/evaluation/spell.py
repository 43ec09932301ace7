"""Prompts as the model gets them, as token ids.

They are worded as the benchmark's paper does, in the model's chat template.
"""

from typing import Any

from entrostat.data.benchmarks import Benchmark
from entrostat.data.prompts import rendered, unspelt, worded
from entrostat.evaluation.backend import Backend


def spell(backend: Backend, benchmark: Benchmark) -> list[list[int]]:
    """The prompt of each question as token ids.

    Raises:
        ValueError: one that the tokenizer can't spell, or that leaves the context no
            token for an answer.
    """
    tokenizer: Any = backend.tokenizer
    prompts = []
    for question in benchmark.questions:
        wording = worded(benchmark.prompt, question.problem)
        prompts.append(rendered(tokenizer, wording))
    lost = unspelt(tokenizer, prompts)
    if lost is not None:
        character, prompt = lost
        where = _where(benchmark, prompts.index(prompt))
        raise ValueError(
            f"{where}: the model's tokenizer can't spell {character!r}: "
            "give a model whose can"
        )
    all_ids = []
    for i, prompt in enumerate(prompts):
        ids = list(tokenizer(prompt)["input_ids"])
        if backend.context is not None and len(ids) >= backend.context:
            raise ValueError(
                f"{_where(benchmark, i)}: its prompt has {len(ids)} tokens, the "
                f"model's context {backend.context}: leave it out, or give a model "
                "with a longer one"
            )
        all_ids.append(ids)
    return all_ids


def _where(benchmark: Benchmark, i: int) -> str:
    """The file or the benchmark, and the problem of that number in it."""
    key = benchmark.questions[i].id[:80]
    return f"{benchmark.path or benchmark.name}, problem {key!r}"
