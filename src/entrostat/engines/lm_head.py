"""Full-vocabulary statistics at chosen tokens: from the hidden states of a pass that the
trainer has just made, or from passes of our own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from entrostat.engines.meter import SumsOf
from entrostat.entropy import TokenStats, token_stats

CHUNK = 512
"""Tokens whose logits are held at once: 500 MB at a vocabulary of 250,000."""
LOGITS = 2**28
"""Logits of a pass that is made for them alone, at most: 1 GiB in float32."""
_PROBED_TOKENS = 64
_CLOSE = 0.02
"""A median gap in nats that still counts as equal, since half precision rounds."""


class HeadSums:
    """Projects hidden states through the LM head, where its plain product gives the
    trainer's log-probabilities.

    It does not with a soft cap or a logit scale. That is checked once, on the first
    micro-batch that has trained tokens.
    """

    def __init__(self):
        self.match: bool | None = None

    def at_tokens(
        self,
        head: Any,
        states: Float[Tensor, "b n d"],
        ids: Int[Tensor, "b t"],
        logprobs: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        temperature: float,
    ) -> SumsOf | None:
        """The statistics as a function of flat indices (k,) into (b t), on the device of
        the indices.

        None where the product does not match, or where the LM head is sharded: gathering
        it would cost a pass.

        Args:
            head: the LM head.
            states: last hidden states, of prompt and completion.
            ids: the completion's tokens.
            logprobs: the trainer's, of those tokens.
            mask: trained tokens.
        """
        if self.match is False or not _is_whole(head.weight, states):
            return None
        # the state at one position predicts the token at the next
        predicting = states[:, -ids.size(1) - 1 : -1]
        stats_at = _projected(head, predicting, ids, temperature)
        if self.match is None:
            self.match = _matches(stats_at, logprobs, mask)
        return None if self.match is False else stats_at


def _is_whole(weight: Tensor, states: Tensor) -> bool:
    """Whether a head's weight is all there. FSDP shards it into a DTensor or a flat
    parameter, DeepSpeed ZeRO-3 leaves it empty."""
    plain = type(weight) in (nn.Parameter, Tensor) and weight.dim() == 2
    return plain and weight.shape[-1] == states.shape[-1]


def _matches(
    stats_at: SumsOf, logprobs: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> bool | None:
    """Whether the product gives the trainer's log-probabilities; None without tokens."""
    probed = mask.reshape(-1).nonzero().squeeze(-1)[:_PROBED_TOKENS]
    if not len(probed):
        return None
    gaps = stats_at(probed).logprobs[0] - logprobs.reshape(-1)[probed]
    return bool(gaps.abs().median() < _CLOSE)


def _projected(
    head: Any,
    states: Float[Tensor, "b t d"],
    ids: Int[Tensor, "b t"],
    temperature: float,
) -> SumsOf:
    """Statistics at flat indices into (b t), from the state that predicts each token."""
    weight, width = head.weight, ids.size(1)

    def of_chunk(flat: Int[Tensor, " k"]) -> TokenStats:
        # a model that device_map splits may have its states elsewhere than its head
        at = flat.to(states.device)
        chosen = states[at // width, at % width].to(weight.device, weight.dtype)
        logits = F.linear(chosen, weight, getattr(head, "bias", None))
        taken = ids.reshape(-1)[flat].to(weight.device)
        return token_stats(logits[None], taken[None], temperature=temperature)

    def stats_at(flat: Int[Tensor, " k"]) -> TokenStats:
        parts = [of_chunk(chunk) for chunk in flat.split(CHUNK)]
        columns = zip(*parts, strict=True)
        return TokenStats(*(torch.cat(c, dim=1).to(flat.device) for c in columns))

    return stats_at


@torch.no_grad()
def completion_stats(
    model: nn.Module,
    ids: Int[Tensor, "b s"],
    attention: Int[Tensor, "b s"],
    width: int,
    temperature: float,
    *,
    vocabulary: int,
    most: int | None = None,
    widest: int = 0,
) -> TokenStats:
    """Statistics of the last `width` tokens of each row, from forward passes of text.

    A pass takes as many rows as `LOGITS` lets, one at least, and `most` at most.

    Args:
        widest: the largest `width` of all ranks, where they have to make equally many
            passes.
    """
    rows = max(1, LOGITS // ((max(width, widest) + 1) * vocabulary))
    if most is not None:
        rows = min(rows, most)
    parts = []
    for start in range(0, len(ids), rows):
        at = slice(start, start + rows)
        # some models give all logits whatever is asked for, so they are cut below too
        output = model(
            input_ids=ids[at], attention_mask=attention[at], logits_to_keep=width + 1
        )
        logits = output.logits[:, -width - 1 : -1]
        parts.append(token_stats(logits, ids[at, -width:], temperature=temperature))
    columns = zip(*parts, strict=True)
    return TokenStats(*(torch.cat(column) for column in columns))
