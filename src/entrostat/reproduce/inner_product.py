"""How good the per-token estimate is: against the exact inner product of loss and entropy gradients in the parameters.

The estimate -A r [Q_a - E[Q]] treats each position as a policy with logits of its own. In a network one parameter moves
all positions, so the first-order change of the mean entropy H under a step on a token's surrogate L is

    <grad_theta L, grad_theta H>

with H the mean over the tokens of other prompts' samples. The tabular engine of a1 checks the formula; this one checks
what it leaves out.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from entrostat.advantage import group_advantages
from entrostat.entropy import entropy_change, regions, token_stats
from entrostat.lab.config import TrainConfig
from entrostat.lab.evaluate import sample
from entrostat.lab.tasks import make_task
from entrostat.lab.train import load_model

PROMPTS, SAMPLES = 64, 16


class Products(NamedTuple):
    """Of one batch of the base model, a value a token of its completions, (n,)."""

    exact: NDArray[np.float64]
    """Inner product of the token's surrogate gradient with the gradient of the mean entropy, over all parameters."""
    estimate: NDArray[np.float64]
    """-A r [Q_a - E[Q]] at r = 1, nats."""
    region: NDArray[np.int64]
    """Region of each token."""
    sequence: NDArray[np.int64]
    """Number of each token's completion."""


class _Batch(NamedTuple):
    ids: Tensor
    attention: Tensor
    mask: Tensor
    """Completion tokens, among the targets ids[:, 1:]."""
    advantages: Tensor


def products(seed: int, task_name: str = "countdown") -> Products:
    """Both numbers on fresh prompts of the training split, advantages as GRPO's, on the task's base model.

    The inner products of all tokens are one derivative of their log-probabilities, along the entropy's gradient.
    """
    model, tokenizer = load_model(TrainConfig(task=task_name))
    model.set_attn_implementation(
        "eager"
    )  # the fused kernels have no forward-mode derivative
    model.eval()
    batch, others = (
        _batch(model, tokenizer, task_name, 2 * seed + i) for i in range(2)
    )
    parameters = dict(model.named_parameters())
    slope = torch.autograd.grad(_mean_entropy(model, others), list(parameters.values()))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # torch's own, of how it builds its forward-mode rules
        derivative: Any = torch.func.jvp(
            lambda now: (
                torch.func.functional_call(model, now, (), _inputs(batch))
                .logits[:, :-1]
                .log_softmax(-1)
            ),
            ({name: value.detach() for name, value in parameters.items()},),
            (dict(zip(parameters, slope, strict=True)),),
        )
    logits, along = derivative
    targets, advantages = batch.ids[:, 1:], batch.advantages[:, None]
    stats = token_stats(logits, targets)
    assert stats.entropy is not None
    exact = (
        advantages * along.gather(-1, targets[..., None])[..., 0]
    )  # the gradient of r A at r = 1
    estimate = entropy_change(stats, torch.zeros_like(stats.logprobs), advantages)
    region = regions(stats.logprobs, stats.entropy, advantages)
    sequence = torch.arange(len(targets))[:, None].expand_as(targets)
    return Products(*(x[batch.mask].double().numpy() for x in (exact, estimate)),
                    *(x[batch.mask].numpy() for x in (region, sequence)))  # fmt: skip


def by(labels: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values by label, 0 to the largest."""
    return np.bincount(labels, weights=values).astype(np.float64)


def _batch(model: Any, tokenizer: Any, task_name: str, seed: int) -> _Batch:
    """A rollout of the model: PROMPTS problems, SAMPLES completions each, scored."""
    task = make_task(task_name)
    problems = task.problems(PROMPTS, split="train", seed=seed)
    prompts = [problem.prompt for problem in problems]
    drawn = sample(
        model,
        tokenizer,
        prompts,
        samples=SAMPLES,
        max_completion=task.max_completion,
        seed=seed,
    )
    repeated = [problem for problem in problems for _ in range(SAMPLES)]
    scores = [
        float(task.score(problem, text))
        for problem, text in zip(repeated, drawn.texts, strict=True)
    ]
    heads = [
        tokenizer(problem.prompt, add_special_tokens=False)["input_ids"]
        for problem in repeated
    ]
    tails = [
        tokenizer(text, add_special_tokens=False)["input_ids"]
        + [tokenizer.eos_token_id]
        for text in drawn.texts
    ]
    width = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    ids = torch.full((len(heads), width), tokenizer.pad_token_id)
    attention, mask = (
        torch.zeros_like(ids),
        torch.zeros(len(heads), width, dtype=torch.bool),
    )
    for i, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        end = len(head) + len(tail)
        ids[i, :end] = torch.tensor(head + tail)
        attention[i, :end] = 1
        mask[i, len(head) : end] = True
    return _Batch(
        ids, attention, mask[:, 1:], group_advantages(torch.tensor(scores), SAMPLES)
    )


def _inputs(batch: _Batch) -> dict[str, Tensor]:
    return {"input_ids": batch.ids, "attention_mask": batch.attention}


def _mean_entropy(model: Any, batch: _Batch) -> Tensor:
    """Over the completion tokens, nats, with its gradient; the samples themselves stay fixed."""
    logprobs = model(**_inputs(batch)).logits[:, :-1].log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)[batch.mask].mean()
