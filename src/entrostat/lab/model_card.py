"""The model card of a base model: how it was made, what it does before any training,
what it is for."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from entrostat.lab.tasks import Task
from entrostat.texts import interval_text

_CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [entrostat, {task.name}]
---

# Base model of entrostat's {task.name} task

A Qwen2 decoder of {parameters:.2f}M parameters (hidden {size.hidden}, {size.layers} layers, {size.heads} heads, MLP
{size.mlp}, tied embeddings, float32) with one token a character. It is the starting point of experiments on policy
entropy: it answers some {task.name} problems right, and differently from sample to sample.

## How it was made

Supervised learning from random weights on train problems of the task, with loss on the answer tokens alone. The answers
are {task.demonstrations}.
The command makes its own data; no other data were used. No reinforcement learning.

    {command}

Python {python}, torch {torch}, transformers {transformers}, one CPU thread. With these versions the command gives the
same bytes again on the same machine. Elsewhere floating point may differ, and so may the numbers below.

## What it does

On {problems} test problems x {samples} samples at temperature 1, no top-k, no top-p, at most {task.max_completion}
tokens. {task.held_out_means}
Brackets: 95% bootstrap interval over problems. The command above measures this at its end, and this measures it again:

    {evaluate}

| | |
|---|---|
| pass@1 | {pass_1} |
| pass@{samples} | {pass_all} |
| entropy of the sampler, nats a completion token, end of sequence included | {entropy:.3f} |

By temperature (`--temperature`):

| temperature | pass@1 | pass@{samples} | entropy |
|---|---|---|---|
{rows}

## Use

It is a research instrument. It knows this one task and no language, and what it shows about entropy at this size need
not hold for large models. The tokenizer drops characters that it does not know. A problem and a right answer:

    {prompt}
    {answer}

    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
"""


def model_card(
    task: Task,
    *,
    command: str,
    prompt: str,
    answer: str,
    parameters: int,
    by_temperature: Mapping[float, Mapping[str, Any]],
) -> str:
    """The README.md of a base model's folder.

    The same for the same arguments and library versions: no date, no duration.

    Args:
        command: the one that made the folder.
        prompt: of an example problem, and `answer` a right answer to it.
        by_temperature: what `evaluate` gives at each temperature, 1 among them.
    """
    scores = by_temperature[1.0]
    samples = scores["samples"]
    problems = len(scores["correct"])
    rows = [_row(temperature, each) for temperature, each in by_temperature.items()]
    return _CARD.format(
        task=task,
        size=task.model_size,
        parameters=parameters / 1e6,
        command=command,
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
        transformers=importlib.metadata.version("transformers"),
        problems=problems,
        samples=samples,
        evaluate=f"entrostat evaluate DIR --task {task.name} --problems {problems} "
        f"--samples {samples}",
        pass_1=_interval(scores[f"mean@{samples}"]),
        pass_all=_interval(scores[f"pass@{samples}"]),
        entropy=scores["entropy"],
        rows="\n".join(rows),
        prompt=prompt,
        answer=answer,
    )


def _row(temperature: float, scores: Mapping[str, Any]) -> str:
    """A row of the table by temperature."""
    samples = scores["samples"]
    mean = scores[f"mean@{samples}"]["value"]
    passed = scores[f"pass@{samples}"]["value"]
    return f"| {temperature} | {mean:.3f} | {passed:.3f} | {scores['entropy']:.3f} |"


def _interval(score: Mapping[str, float]) -> str:
    return interval_text(score["value"], score["low"], score["high"])
