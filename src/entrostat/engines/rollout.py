"""A rollout of the fast engine's runs, whole or in parts.

Notation: n runs, b sequences, c of them chosen, p prompt tokens, t completion tokens.
Prompts are padded on the left, completions on the right. The samples of one prompt stand
together.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from entrostat.entropy import TokenStats


class Rollout(NamedTuple):
    """What the old policy has sampled, and its statistics at each token."""

    prompts: Int[Tensor, "n b p"]
    prompt_mask: Bool[Tensor, "n b p"]
    completions: Int[Tensor, "n b t"]
    mask: Bool[Tensor, "n b t"]
    """Tokens that are trained on: up to the first end of a text, itself included."""
    old: TokenStats
    """(n b t) each, nats; 0 where masked."""


def mapped(stats: TokenStats, change: Callable[[Tensor], Tensor]) -> TokenStats:
    """`change` of each statistic that is there."""
    rest = [None if values is None else change(values) for values in stats[1:]]
    return TokenStats(change(stats.logprobs), *rest)


def _mapped(rollout: Rollout, change: Callable[[Tensor], Tensor]) -> Rollout:
    """`change` of each tensor of a rollout."""
    prompts, prompt_mask, completions, mask, old = rollout
    return Rollout(
        change(prompts),
        change(prompt_mask),
        change(completions),
        change(mask),
        mapped(old, change),
    )


def of_run(stats: TokenStats, run: int) -> TokenStats:
    """One run's statistics, (b t)."""
    return mapped(stats, lambda values: values[run])


def repeated(rollout: Rollout, runs: int) -> Rollout:
    """A rollout of one run as that of several; nothing is copied."""
    return _mapped(rollout, lambda values: values.expand(runs, -1, -1))


def part(rollout: Rollout, rows: Int[Tensor, "n c"]) -> Rollout:
    """These sequences of each run."""
    runs = torch.arange(len(rows), device=rows.device)[:, None]
    return _mapped(rollout, lambda values: values[runs, rows])


def concatenated(rollouts: Sequence[Rollout], pad: int) -> Rollout:
    """Rollouts of the same runs as one, with more sequences; `pad` is the id of padding.
    What is padded is trained on by nobody, and its statistics are 0."""
    p = max(rollout.prompts.shape[-1] for rollout in rollouts)
    t = max(rollout.completions.shape[-1] for rollout in rollouts)
    wide = [_padded(rollout, p, t, pad) for rollout in rollouts]
    columns = [torch.cat(column, dim=1) for column in zip(*wide, strict=True)]
    prompts, prompt_mask, completions, mask, *stats = columns
    return Rollout(prompts, prompt_mask, completions, mask, TokenStats(*stats))


def _padded(rollout: Rollout, p: int, t: int, pad: int) -> list[Tensor]:
    """A rollout's tensors, its statistics last, with p prompt and t completion tokens."""
    # prompts are padded on the left, completions on the right
    before = (p - rollout.prompts.shape[-1], 0)
    behind = (0, t - rollout.completions.shape[-1])
    stats = mapped(rollout.old, lambda values: F.pad(values, behind))
    return [
        F.pad(rollout.prompts, before, value=pad),
        F.pad(rollout.prompt_mask, before, value=False),
        F.pad(rollout.completions, behind, value=pad),
        F.pad(rollout.mask, behind, value=False),
        *(values for values in stats if values is not None),
    ]
