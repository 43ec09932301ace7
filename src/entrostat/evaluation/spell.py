"""Prompts as the model gets them, as token ids.

They are worded as the benchmark's paper does, in the model's chat template.
"""

from typing import Any

from entrostat.data.benchmarks import Benchmark
from entrostat.data.prompts import NO_WORDING, rendered, unspelt, worded
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
        prompts.append(_prompt(tokenizer, benchmark.prompt, question.problem))
    lost = unspelt(tokenizer, prompts)
    if lost is not None:
        character, prompt = lost
        where = _where(benchmark, prompts.index(prompt))
        raise ValueError(
            f"{where}: the model's tokenizer can't spell {character!r}: "
            "give a model whose can, or with --wording none the problem as it is"
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


def _prompt(tokenizer: Any, wording: str, problem: str) -> str:
    """The problem as it is where nothing is to stand around it, no line end either: a
    model of few characters has none."""
    if wording == NO_WORDING and not tokenizer.chat_template:
        return problem
    return rendered(tokenizer, worded(wording, problem))


def _where(benchmark: Benchmark, i: int) -> str:
    """The file or the benchmark, and the problem of that number in it."""
    key = benchmark.questions[i].id[:80]
    return f"{benchmark.path or benchmark.name}, problem {key!r}"
