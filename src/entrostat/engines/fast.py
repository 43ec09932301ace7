"""The lab's measuring instrument: GRPO on a small Qwen2 model as plain functions, several
runs side by side.

TRL stays the engine that trains. This one is for questions that take thousands of
rollouts: it is nearly twice as fast on one thread (docs/benchmarks.md), it holds several
runs in one batch on a GPU, and a run's whole state can be copied, so that two settings
can be tried from one and the same point (entrostat.lab.paired).

Left out, on purpose: architectures but Qwen2's and Llama's (entrostat.engines.qwen2),
loss aggregations but TRL's "dapo", critics, tools, images, LoRA, several devices, vLLM's
importance weights, mixed precision, gradient accumulation. From the same weights, rollout
and mini-batches its updates equal the TRL engine's (tests/engines/test_fast.py). It needs
torch, and safetensors to read a model.

Notation: n runs, b sequences, c of them in a mini-batch, p prompt tokens, t completion
tokens, s = p + t, v vocabulary. Prompts are padded on the left, completions on the right.
The samples of one prompt stand together. Runs share nothing but their shapes: every
parameter has the run as its first dimension, and so a sum of losses over runs has each
run's own gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrostat.clip import ClipBounds, ClipEvents, clip_events, clip_loss
from entrostat.engines.qwen2 import Cache, Model, causal, forward
from entrostat.engines.rollout import Rollout, mapped, of_run, part
from entrostat.engines.summary import sequence_sums, summarise
from entrostat.entropy import TokenStats
from entrostat.objectives.base import LossInputs, Objective
from entrostat.strategies import RolloutSummary


class Passed(NamedTuple):
    """Sums over a rollout's updates, (n,) each."""

    tokens: Tensor
    clip_low: Tensor
    """Tokens that the clip took on the low side."""
    clip_high: Tensor
    square: Tensor
    """Sum of squared log-ratios, nats^2: what its root mean square is made of."""
    norm: Tensor
    """Sum of gradient norms before they were cut, one per update."""
    clip_high_p: Tensor
    """Sum of the old probabilities of the tokens that the clip took on the high side."""
    positive: Tensor
    """Tokens with A > 0: those that it could take there."""
    positive_p: Tensor
    """Sum of their old probabilities."""


class Seen(NamedTuple):
    """A mini-batch as one update saw it, without gradient."""

    chosen: Rollout
    now: TokenStats
    """Of the policy before the step, (n c t)."""
    logratio: Tensor
    """(n c t), nats."""
    advantages: Tensor
    """(n c t)."""
    bounds: ClipBounds
    """(n c t) each."""
    events: ClipEvents
    """(n c t) each."""


# The rollout


@torch.no_grad()
def sample(
    model: Model,
    prompts: Int[Tensor, "n q p"],
    prompt_mask: Bool[Tensor, "n q p"],
    *,
    samples: int,
    most: int,
    generators: Sequence[torch.Generator],
    temperature: float = 1.0,
) -> Rollout:
    """`samples` completions of each of q prompts, of at most `most` tokens, so that
    b = q * samples.

    Each run draws from its own generator, one uniform number per token, so that its
    samples do not depend on its neighbours.
    """
    n, q, p = prompts.shape
    # each prompt is read once, whatever the number of its samples
    cache = Cache.empty(model, n * q, p)
    logits = forward(model, prompts, causal(prompt_mask, 0), keep=1, cache=cache)
    cache = cache.repeated(n, samples, most)
    logits = logits.repeat_interleave(samples, dim=1)
    prompts = prompts.repeat_interleave(samples, dim=1)
    prompt_mask = prompt_mask.repeat_interleave(samples, dim=1)
    keys = prompt_mask.reshape(-1, 1, 1, p)
    live = torch.ones_like(prompt_mask[:, :, 0])
    ends = torch.tensor(model.shape.ends, device=model.device)
    completions, mask, old = [], [], []
    for step in range(most):
        logits = logits[:, :, 0] / temperature
        ids = _drawn(logits, generators)
        completions.append(torch.where(live, ids, model.shape.pad))
        mask.append(live)
        old.append(torch.stack(_four(logits, ids)))
        live = live & ~torch.isin(ids, ends)
        if step == most - 1 or not live.any():
            break
        keys = F.pad(keys, (0, 1), value=True)
        taken = completions[-1][:, :, None]
        logits = forward(model, taken, keys, keep=1, cache=cache)
    trained = torch.stack(mask, dim=-1)
    stats = torch.where(trained, torch.stack(old, dim=-1), 0.0)
    whole = torch.stack(completions, dim=-1)
    return Rollout(prompts, prompt_mask, whole, trained, TokenStats(*stats))


def _drawn(
    logits: Float[Tensor, "n b v"], generators: Sequence[torch.Generator]
) -> Int[Tensor, "n b"]:
    """One token of each distribution, by the inverse of its cumulative sum."""
    _, b, v = logits.shape
    device = logits.device
    draws = [torch.rand(b, 1, generator=own, device=device) for own in generators]
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    # times the last: a float32 sum may end under 1, and a token of probability 0 must not
    # be drawn
    reached = cumulative <= torch.stack(draws) * cumulative[..., -1:]
    return reached.sum(dim=-1).clamp(max=v - 1)


def statistics(logits: Float[Tensor, "... v"], ids: Int[Tensor, "..."]) -> TokenStats:
    """`entrostat.token_stats` with gradient, for a small vocabulary: log-probability,
    entropy, and the two sums."""
    return TokenStats(*_four(logits, ids))


def _four(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of TokenStats, all of which are there."""
    logp = logits.log_softmax(dim=-1)
    p = logp.exp()
    square = p.square()
    taken = logp.gather(-1, ids[..., None])[..., 0]
    return taken, -(p * logp).sum(-1), square.sum(-1), (square * logp).sum(-1)


def logits_on(model: Model, rollout: Rollout) -> Float[Tensor, "n b t v"]:
    """The present policy's logits at each completion token of a rollout, with gradient."""
    width = rollout.completions.shape[-1]
    ids = torch.cat([rollout.prompts, rollout.completions], dim=-1)
    attention = causal(rollout.prompt_mask, width)
    # the logits at one position are those of the next token
    return forward(model, ids, attention, keep=width + 1)[:, :, :-1]


def summary(
    rollout: Rollout,
    advantages: Float[Tensor, "n b"],
    run: int,
    *,
    group: int,
    **known: Any,
) -> RolloutSummary:
    """What a strategy is told of a rollout. `known`: its progress, updates, ceiling."""
    old = of_run(rollout.old, run)
    sums = sequence_sums(old, advantages[run][:, None], rollout.mask[run])
    return summarise(sums, group=group, **known)


# The updates


def optimizer(model: Model, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW as Hugging Face's trainer has it: betas 0.9 and 0.999, no weight decay."""
    return torch.optim.AdamW(
        list(model.weights.values()), lr=learning_rate, weight_decay=0.0, foreach=True
    )


@torch.no_grad()
def spread(model: Model, adam: torch.optim.Optimizer, run: int) -> None:
    """Puts one run's weights and moments in all others' place: all go on from there."""
    for weight in model.weights.values():
        weight.copy_(weight[run].clone().expand_as(weight))
        for moment in adam.state.get(weight, {}).values():
            if moment.ndim:  # the count of steps is everybody's
                moment.copy_(moment[run].clone().expand_as(moment))


def mini_batches(
    rollout: Rollout, updates: int, generators: Sequence[torch.Generator]
) -> list[Int[Tensor, "n c"]]:
    """The rows of each update: a random split of the rollout's sequences into `updates`
    parts of one size."""
    b, device = rollout.completions.shape[1], rollout.mask.device
    orders = [torch.randperm(b, generator=own, device=device) for own in generators]
    return list(torch.stack(orders).chunk(updates, dim=1))


def update(
    model: Model,
    adam: torch.optim.Optimizer,
    rollout: Rollout,
    advantages: Float[Tensor, "n b"],
    bounds: ClipBounds,
    batches: Sequence[Int[Tensor, "n c"]],
    *,
    temperature: float = 1.0,
    max_grad_norm: float = 1.0,
    objectives: Sequence[tuple[Objective, Any] | None] = (),
    paces: Float[Tensor, " n"] | None = None,
    see: Callable[[Seen], None] | None = None,
) -> Passed:
    """The updates of one rollout, in place: TRL's loss type "dapo" under `bounds`,
    (n b t) or broadcastable to it.

    Every update divides by the same number, the rollout's tokens over its updates, as TRL
    does.

    Args:
        objectives: of each run the objective whose term is added, with its state, or
            None; empty for none at all.
        paces: of each run what its steps are multiplied by; None for 1.
        see: is shown every update's mini-batch.
    """
    share = rollout.mask.sum(dim=(1, 2)).clamp(min=1) / len(batches)
    low, high = (bound.expand_as(rollout.old.logprobs) for bound in bounds)
    runs = torch.arange(model.runs, device=model.device)[:, None]
    total: Passed | None = None
    for rows in batches:
        chosen = part(rollout, rows)
        now = statistics(logits_on(model, chosen) / temperature, chosen.completions)
        logratio = torch.where(chosen.mask, now.logprobs - chosen.old.logprobs, 0.0)
        token_advantages = advantages[runs, rows][..., None].expand_as(logratio)
        window = ClipBounds(low[runs, rows], high[runs, rows])
        loss, events = _clipped(logratio, token_advantages, window)
        still = mapped(now, Tensor.detach)
        seen = Seen(chosen, still, logratio.detach(), token_advantages, window, events)
        if see is not None:
            see(seen)
        if any(objectives):
            loss = loss + _corrections(objectives, now, logratio, seen)
        by_run = torch.where(chosen.mask, loss, 0.0).sum(dim=(1, 2)) / share
        by_run.sum().backward()
        norm = _cut_gradients(model, max_grad_norm)
        _step(model, adam, paces)
        adam.zero_grad(set_to_none=True)
        sums = _counted(seen, norm)
        total = sums if total is None else Passed(*map(torch.add, total, sums))
    assert total is not None
    return total


def _clipped(
    logratio: Float[Tensor, "n c t"],
    advantages: Float[Tensor, "n c t"],
    window: ClipBounds,
) -> tuple[Float[Tensor, "n c t"], ClipEvents]:
    """The clipped loss per token, and its events. To the loss, which looks at each token
    alone, every run is a stretch of sequences."""
    shape = logratio.shape
    logratio, advantages = logratio.flatten(0, 1), advantages.flatten(0, 1)
    low, high = window.low.flatten(0, 1), window.high.flatten(0, 1)
    loss = clip_loss(logratio, advantages, low=low, high=high)
    events = clip_events(logratio, advantages, low=low, high=high)
    return loss.view(shape), ClipEvents(*(side.view(shape) for side in events))


def _counted(seen: Seen, norm: Float[Tensor, " n"]) -> Passed:
    """One update's sums over its trained tokens."""

    def total(values: Tensor) -> Tensor:
        return values.sum(dim=(1, 2)).double()

    mask, p = seen.chosen.mask, seen.chosen.old.logprobs.exp()
    clipped_high = seen.events.high & mask
    positive = (seen.advantages > 0) & mask
    return Passed(
        tokens=total(mask),
        clip_low=total(seen.events.low & mask),
        clip_high=total(clipped_high),
        square=total(seen.logratio.square()),
        norm=norm,
        clip_high_p=total(p * clipped_high),
        positive=total(positive),
        positive_p=total(p * positive),
    )


def _corrections(
    objectives: Sequence[tuple[Objective, Any] | None],
    now: TokenStats,
    logratio: Float[Tensor, "n c t"],
    seen: Seen,
) -> Float[Tensor, "n c t"]:
    """The terms of the runs' objectives; `now` and `logratio` have a gradient."""
    assert now.entropy is not None
    terms = []
    for run, pair in enumerate(objectives):
        if pair is None:
            terms.append(torch.zeros_like(logratio[run]))
            continue
        objective, state = pair
        inputs = LossInputs(
            logprobs=now.logprobs[run],
            logratio=logratio[run],
            advantages=seen.advantages[run],
            old=of_run(seen.chosen.old, run),
            entropy=now.entropy[run],
            mask=seen.chosen.mask[run],
        )
        terms.append(objective.correction(state, inputs))
    return torch.stack(terms)


@torch.no_grad()
def _cut_gradients(model: Model, most: float) -> Float[Tensor, " n"]:
    """Scales each run's gradient down to norm `most`, as torch's clip_grad_norm_ does; the
    norms before."""
    gradients = [w.grad for w in model.weights.values() if w.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients])
    norm = norms.norm(dim=0)
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(_per_run(scale, gradient))
    return norm.double()


@torch.no_grad()
def _step(
    model: Model, adam: torch.optim.Optimizer, paces: Float[Tensor, " n"] | None
) -> None:
    """A step of the optimizer, each run's stretched by its pace."""
    if paces is None:
        adam.step()
        return
    before = [weight.clone() for weight in model.weights.values()]
    adam.step()
    for weight, start in zip(model.weights.values(), before, strict=True):
        weight.copy_(start + _per_run(paces, weight) * (weight - start))


def _per_run(values: Float[Tensor, " n"], like: Float[Tensor, "n ..."]) -> Tensor:
    """One number per run, broadcastable to `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
