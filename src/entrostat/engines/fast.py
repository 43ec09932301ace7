"""The lab's measuring instrument: GRPO on a small Qwen2 model as plain functions, several runs side by side.

TRL stays the engine that trains. This one is for questions that take thousands of rollouts: it is nearly twice as fast
on one thread (docs/benchmarks.md), it holds several runs in one batch on a GPU, and a run's whole state can be copied,
so that two settings can be tried from one and the same point (entrostat.lab.paired).

Left out, on purpose: architectures but Qwen2's and Llama's (entrostat.engines.qwen2), loss aggregations but TRL's
"dapo", critics, tools, images, LoRA, several devices, vLLM's importance weights, mixed precision, gradient
accumulation. From the same weights, rollout and mini-batches its updates equal the TRL engine's
(tests/engines/test_fast.py). It needs torch, and safetensors to read a model.

Notation: n runs, b sequences, p prompt tokens, t completion tokens, s = p + t, v vocabulary. Prompts are padded on the
left, completions on the right. The samples of one prompt stand together. Runs share nothing but their shapes: every
parameter has the run as its first dimension, and so a sum of losses over runs has each run's own gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entrostat.clip import ClipBounds, ClipEvents, clip_events, clip_loss
from entrostat.engines.qwen2 import Cache, Model, causal, forward
from entrostat.engines.summary import sequence_sums, summarise
from entrostat.entropy import TokenStats
from entrostat.objectives.base import LossInputs, Objective
from entrostat.strategies import RolloutSummary


class Rollout(NamedTuple):
    """What the old policy has sampled, and its statistics at each token."""

    prompts: Int[Tensor, "n b p"]
    prompt_mask: Bool[Tensor, "n b p"]
    completions: Int[Tensor, "n b t"]
    mask: Bool[Tensor, "n b t"]
    """Tokens that are trained on: up to the first end of a text, itself included."""
    old: TokenStats
    """(n b t) each, nats; 0 where masked."""


class Passed(NamedTuple):
    """Sums over a rollout's updates, (n,) each."""

    tokens: Tensor
    clip_low: Tensor
    """Tokens that the clip took on the low side."""
    clip_high: Tensor
    square: Tensor
    """Sum of squared log-ratios, nats^2: what its root mean square is made of."""
    norm: Tensor
    """Sum of gradient norms before they were cut, one an update."""
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


def statistics(logits: Float[Tensor, "... v"], ids: Int[Tensor, "..."]) -> TokenStats:
    """`entrostat.token_stats` with gradient, for a small vocabulary: log-probability, entropy, and the two sums."""
    logp = logits.log_softmax(dim=-1)
    p = logp.exp()
    taken = logp.gather(-1, ids[..., None])[..., 0]
    square = p.square()
    return TokenStats(
        taken, -(p * logp).sum(-1), square.sum(-1), (square * logp).sum(-1)
    )


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
    """`samples` completions of each of q prompts, of at most `most` tokens, b = q * samples.

    Each run draws from its own generator, one uniform number a token, so that its samples do not depend on its
    neighbours.
    """
    n, q, p = prompts.shape
    b = q * samples
    cache = Cache(model.shape, n * q, p, model.device)
    logits = forward(model, prompts, causal(prompt_mask, 0), keep=1, cache=cache)
    cache = cache.repeated(n, samples, most)
    logits = logits.repeat_interleave(samples, dim=1)
    prompts, prompt_mask = (
        x.repeat_interleave(samples, dim=1) for x in (prompts, prompt_mask)
    )
    seen = prompt_mask.reshape(n * b, 1, 1, p)
    live = torch.ones(n, b, dtype=torch.bool, device=model.device)
    ends = torch.tensor(model.shape.ends, device=model.device)
    taken, lives, stats = [], [], []
    for step in range(most):
        logits = logits[:, :, 0] / temperature
        ids = _drawn(logits, generators)
        taken.append(torch.where(live, ids, model.shape.pad))
        lives.append(live)
        stats.append(torch.stack([x for x in statistics(logits, ids) if x is not None]))
        live = live & ~torch.isin(ids, ends)
        if step == most - 1 or not live.any():
            break
        seen = F.pad(seen, (0, 1), value=True)
        logits = forward(model, taken[-1][:, :, None], seen, keep=1, cache=cache)
    mask = torch.stack(lives, dim=-1)
    old = torch.stack(stats, dim=-1)
    old = torch.where(mask, old, 0.0)
    return Rollout(
        prompts, prompt_mask, torch.stack(taken, dim=-1), mask, TokenStats(*old)
    )


def _drawn(
    logits: Float[Tensor, "n b v"], generators: Sequence[torch.Generator]
) -> Int[Tensor, "n b"]:
    """One token of each distribution, by the inverse of its cumulative sum."""
    _, b, v = logits.shape
    uniform = torch.stack(
        [torch.rand(b, 1, generator=g, device=logits.device) for g in generators]
    )
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    # times the last: a float32 sum may end under 1, and a token of probability 0 must not be drawn
    return (cumulative <= uniform * cumulative[..., -1:]).sum(dim=-1).clamp(max=v - 1)


def logits_on(model: Model, rollout: Rollout) -> Float[Tensor, "n b t v"]:
    """The present policy's logits at each completion token of a rollout, with gradient."""
    width = rollout.completions.shape[-1]
    ids = torch.cat([rollout.prompts, rollout.completions], dim=-1)
    attention = causal(rollout.prompt_mask, width)
    return forward(model, ids, attention, keep=width + 1)[:, :, :-1]


def mapped(stats: TokenStats, change: Callable[[Tensor], Tensor]) -> TokenStats:
    """`change` of each statistic that is there."""
    return TokenStats(
        change(stats.logprobs), *(None if x is None else change(x) for x in stats[1:])
    )


def of_run(stats: TokenStats, run: int) -> TokenStats:
    """One run's statistics, (b t)."""
    return mapped(stats, lambda x: x[run])


def repeated(rollout: Rollout, runs: int) -> Rollout:
    """A rollout of one run as that of several; nothing is copied."""
    prompts, prompt_mask, completions, mask = (
        x.expand(runs, -1, -1) for x in rollout[:4]
    )
    old = mapped(rollout.old, lambda x: x.expand(runs, -1, -1))
    return Rollout(prompts, prompt_mask, completions, mask, old)


def part(rollout: Rollout, rows: Int[Tensor, "n c"]) -> Rollout:
    """These sequences of each run."""
    runs = torch.arange(len(rows), device=rows.device)[:, None]
    old = mapped(rollout.old, lambda x: x[runs, rows])
    prompts, prompt_mask, completions, mask = (x[runs, rows] for x in rollout[:4])
    return Rollout(prompts, prompt_mask, completions, mask, old)


def summary(
    rollout: Rollout,
    advantages: Float[Tensor, "n b"],
    run: int,
    *,
    group: int,
    **known: Any,
) -> RolloutSummary:
    """What a strategy is told of a run's rollout. `known`: progress, updates and ceiling, as in RolloutSummary."""
    old = of_run(rollout.old, run)
    mask, gains = rollout.mask[run], advantages[run][:, None]
    return summarise(sequence_sums(old, gains, mask), group=group, **known)


# The updates


def optimizer(model: Model, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW as Hugging Face's trainer has it by default: betas .9 and .999, no weight decay."""
    return torch.optim.AdamW(
        list(model.weights.values()), lr=learning_rate, weight_decay=0.0, foreach=True
    )


@torch.no_grad()
def spread(model: Model, adam: torch.optim.Optimizer, run: int) -> None:
    """Puts one run's weights and moments in all others' place, so that all go on from one point."""
    for weight in model.weights.values():
        weight.copy_(weight[run].clone().expand_as(weight))
        for moment in adam.state.get(weight, {}).values():
            if moment.ndim:  # the count of steps is everybody's
                moment.copy_(moment[run].clone().expand_as(moment))


def mini_batches(
    rollout: Rollout, updates: int, generators: Sequence[torch.Generator]
) -> list[Int[Tensor, "n c"]]:
    """The rows of each update: a random split of the rollout's sequences into `updates` parts of one size."""
    b = rollout.completions.shape[1]
    rows = torch.stack(
        [torch.randperm(b, generator=g, device=rollout.mask.device) for g in generators]
    )
    return list(rows.chunk(updates, dim=1))


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
    """The updates of one rollout, in place: TRL's loss type "dapo" under `bounds`, (n b t) or broadcastable to it.

    Every update divides by the same number, the rollout's tokens over its updates, as TRL does.

    Args:
        objectives: of each run the objective whose term is added, with its state, or None; empty for none at all.
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
        gains = advantages[runs, rows][..., None].expand_as(logratio)
        window = ClipBounds(low[runs, rows], high[runs, rows])
        # every run is a stretch of sequences to the loss, which looks at each token alone
        flat = [x.flatten(0, 1) for x in (logratio, gains, *window)]
        loss = clip_loss(flat[0], flat[1], low=flat[2], high=flat[3]).view_as(logratio)
        events = ClipEvents(
            *(
                x.view_as(logratio)
                for x in clip_events(flat[0], flat[1], low=flat[2], high=flat[3])
            )
        )
        if see is not None:
            see(
                Seen(
                    chosen,
                    mapped(now, Tensor.detach),
                    logratio.detach(),
                    gains,
                    window,
                    events,
                )
            )
        if any(objectives):
            loss = loss + _corrections(objectives, chosen, now, logratio, gains)
        (torch.where(chosen.mask, loss, 0.0).sum(dim=(1, 2)) / share).sum().backward()
        norm = _cut_gradients(model, max_grad_norm)
        _step(model, adam, paces)
        adam.zero_grad(set_to_none=True)
        found = _counted(chosen, logratio.detach(), gains, events, norm)
        total = found if total is None else Passed(*map(torch.add, total, found))
    assert total is not None
    return total


def _counted(
    chosen: Rollout, logratio: Tensor, gains: Tensor, events: ClipEvents, norm: Tensor
) -> Passed:
    """One update's sums over its trained tokens."""
    total = lambda values: values.sum(dim=(1, 2)).double()  # noqa: E731
    mask, p = chosen.mask, chosen.old.logprobs.exp()
    low, high, positive = (
        chosen_tokens & mask for chosen_tokens in (events.low, events.high, gains > 0)
    )
    return Passed(
        tokens=total(mask),
        clip_low=total(low),
        clip_high=total(high),
        square=total(logratio.square()),
        norm=norm,
        clip_high_p=total(p * high),
        positive=total(positive),
        positive_p=total(p * positive),
    )


def _corrections(
    objectives, chosen: Rollout, now: TokenStats, logratio: Tensor, advantages: Tensor
) -> Tensor:
    """The terms of the runs' objectives, (n b t)."""
    terms, entropy = [], now.entropy
    assert entropy is not None
    for run, pair in enumerate(objectives):
        if pair is None:
            terms.append(torch.zeros_like(logratio[run]))
            continue
        objective, state = pair
        inputs = LossInputs(
            logprobs=now.logprobs[run],
            logratio=logratio[run],
            advantages=advantages[run],
            old=of_run(chosen.old, run),
            entropy=entropy[run],
            mask=chosen.mask[run],
        )
        terms.append(objective.correction(state, inputs))
    return torch.stack(terms)


@torch.no_grad()
def _step(
    model: Model, adam: torch.optim.Optimizer, paces: Float[Tensor, " n"] | None
) -> None:
    """A step of the optimizer, each run's stretched by its pace."""
    if paces is None:
        adam.step()
        return
    before = [w.clone() for w in model.weights.values()]
    adam.step()
    for weight, start in zip(model.weights.values(), before, strict=True):
        pace = paces.view(-1, *(1 for _ in weight.shape[1:]))
        weight.copy_(start + pace * (weight - start))


@torch.no_grad()
def _cut_gradients(model: Model, most: float) -> Float[Tensor, " n"]:
    """Scales each run's gradient down to norm `most`, as torch's clip_grad_norm_ does; the norms before."""
    gradients = [w.grad for w in model.weights.values() if w.grad is not None]
    squares = torch.stack([g.flatten(1).norm(dim=1) for g in gradients])
    norm = squares.norm(dim=0)
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(scale.view(-1, *(1 for _ in g.shape[1:])))
    return norm.double()
