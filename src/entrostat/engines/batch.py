"""What TRL's batches hold: a rollout, or one micro-batch of it, as a dict of tensors.

The keys that are read here and elsewhere in the engine are listed in trl_surface.py.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sequences(
    batch: dict[str, Any],
) -> tuple[Int[Tensor, "b s"], Int[Tensor, "b s"], int]:
    """Prompts and completions, their attention mask, and the width of the completions."""
    completions = batch["completion_ids"]
    ids = torch.cat([batch["prompt_ids"], completions], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return ids, attention, completions.size(1)


def trained_tokens(batch: dict[str, Any]) -> Bool[Tensor, "b t"]:
    """Completion tokens that the loss counts: not padding, and not what a tool said."""
    mask = batch["completion_mask"]
    tool_mask = batch.get("tool_mask")
    if tool_mask is not None:
        mask = mask * tool_mask
    return mask.bool()


def token_advantages(batch: dict[str, Any]) -> Float[Tensor, "b #t"]:
    """(b 1), or (b t) where a subclass of TRL's trainer gives advantages per token."""
    advantages = batch["advantages"]
    return advantages.unsqueeze(1) if advantages.dim() == 1 else advantages


def loss_weighted(
    values: Float[Tensor, "b #t"], batch: dict[str, Any]
) -> Float[Tensor, "b #t"]:
    """`values` times the weight that TRL gives a token's loss where vLLM has sampled: 0
    in a sequence that it leaves out."""
    weights = batch.get("importance_sampling_ratio")
    return values if weights is None else values * weights
