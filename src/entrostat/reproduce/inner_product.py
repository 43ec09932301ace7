"""How good the per-token estimate is, against the exact inner product of the loss and
entropy gradients in the parameters.

The estimate -A r [Q_a - E[Q]] treats each position as a policy with logits of its own.
In a network one parameter moves all positions. So the first-order change of the mean
entropy H under a step on a token's surrogate L is

    <grad_theta L, grad_theta H>

where H is the mean over the tokens of other prompts' samples. The tabular engine of a1
checks the formula; this one checks what the formula leaves out.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from entrostat.advantage import group_advantages
from entrostat.entropy import entropy_change, regions, token_stats
from entrostat.lab.config import TrainConfig
from entrostat.lab.evaluate import sample
from entrostat.lab.load import load_model
from entrostat.lab.tasks import make_task

PROMPTS, SAMPLES = 64, 16


class Products(NamedTuple):
    """Of one batch of the base model: one value per completion token, (n,)."""

    exact: NDArray[np.float64]
    """Inner product of the token's surrogate gradient with the gradient of the mean
    entropy, over all parameters."""
    estimate: NDArray[np.float64]
    """-A r [Q_a - E[Q]] at r = 1, nats."""
    region: NDArray[np.int64]
    """Region of each token."""
    sequence: NDArray[np.int64]
    """Number of each token's completion."""


class _Batch(NamedTuple):
    """A rollout: prompts with their completions, (b t), padded on the right."""

    ids: Tensor
    attention: Tensor
    mask: Tensor
    """Completion tokens, among the targets ids[:, 1:]."""
    advantages: Tensor
    """One per completion."""


def products(seed: int, task_name: str = "countdown") -> Products:
    """Both numbers on fresh prompts of the training split, with GRPO's advantages.

    The model is the task's base model.
    """
    model, tokenizer = load_model(TrainConfig(task=task_name))
    # the fused kernels have no forward-mode derivative
    model.set_attn_implementation("eager")
    model.eval()
    batch = _batch(model, tokenizer, task_name, 2 * seed)
    others = _batch(model, tokenizer, task_name, 2 * seed + 1)
    logprobs, along = _logprobs_and_derivative(model, batch, others)
    targets, advantages = batch.ids[:, 1:], batch.advantages[:, None]
    stats = token_stats(logprobs, targets)
    assert stats.entropy is not None
    # at r = 1 the gradient of r A is that of A ln p
    exact = advantages * along.gather(-1, targets[..., None])[..., 0]
    estimate = entropy_change(stats, torch.zeros_like(stats.logprobs), advantages)
    region = regions(stats.logprobs, stats.entropy, advantages)
    sequence = torch.arange(len(targets))[:, None].expand_as(targets)
    return Products(
        exact[batch.mask].double().numpy(),
        estimate[batch.mask].double().numpy(),
        region[batch.mask].numpy(),
        sequence[batch.mask].numpy(),
    )


def by(labels: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values by label, 0 to the largest."""
    return np.bincount(labels, weights=values).astype(np.float64)


def _logprobs_and_derivative(
    model: Any, batch: _Batch, others: _Batch
) -> tuple[Tensor, Tensor]:
    """The batch's log-probabilities over the vocabulary, and how fast each changes when
    the parameters move along the gradient of the others' mean entropy, (b t v) both.

    So the inner products of all tokens are one forward-mode derivative.
    """
    parameters = dict(model.named_parameters())
    slope = torch.autograd.grad(_mean_entropy(model, others), list(parameters.values()))
    values = {name: value.detach() for name, value in parameters.items()}
    tangents = dict(zip(parameters, slope, strict=True))

    def logprobs(values: dict[str, Tensor]) -> Tensor:
        out = torch.func.functional_call(model, values, (), _inputs(batch))
        return out.logits[:, :-1].log_softmax(-1)

    with warnings.catch_warnings():
        # torch's own, of how it builds its forward-mode rules
        warnings.simplefilter("ignore", DeprecationWarning)
        derivative: Any = torch.func.jvp(logprobs, (values,), (tangents,))
    return derivative


def _batch(model: Any, tokenizer: Any, task_name: str, seed: int) -> _Batch:
    """A rollout of the model: PROMPTS problems, SAMPLES completions of each, scored."""
    task = make_task(task_name)
    problems = task.problems(PROMPTS, split="train", seed=seed)
    drawn = sample(
        model,
        tokenizer,
        [problem.prompt for problem in problems],
        samples=SAMPLES,
        max_completion=task.max_completion,
        seed=seed,
    )
    rows, starts, scores = [], [], []
    for number, text in enumerate(drawn.texts):
        problem = problems[number // SAMPLES]
        prompt = tokenizer(problem.prompt, add_special_tokens=False)["input_ids"]
        completion = tokenizer(text, add_special_tokens=False)["input_ids"]
        rows.append(torch.tensor([*prompt, *completion, tokenizer.eos_token_id]))
        starts.append(len(prompt))
        scores.append(float(task.score(problem, text)))
    ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    position = torch.arange(ids.size(1))
    inside = position < torch.tensor(list(map(len, rows)))[:, None]
    completions = inside & (position >= torch.tensor(starts)[:, None])
    advantages = group_advantages(torch.tensor(scores), SAMPLES)
    return _Batch(ids, inside.long(), completions[:, 1:], advantages)


def _inputs(batch: _Batch) -> dict[str, Tensor]:
    return {"input_ids": batch.ids, "attention_mask": batch.attention}


def _mean_entropy(model: Any, batch: _Batch) -> Tensor:
    """Over the completion tokens, nats, with its gradient; the samples stay fixed."""
    logprobs = model(**_inputs(batch)).logits[:, :-1].log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)[batch.mask].mean()
