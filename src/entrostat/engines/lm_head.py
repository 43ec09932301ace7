"""Full-vocabulary statistics at chosen tokens, from the hidden states of a pass that the trainer has just made."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from entrostat.engines.meter import SumsOf
from entrostat.entropy import TokenStats, token_stats

# tokens whose logits are held at once: 500 MB at a vocabulary of 250,000
_CHUNK = 512
LOGITS = 2**28
"""Logits of a pass that is made for them alone, at most: 1 GiB in float32."""


class HeadSums:
    """Projects hidden states through the LM head, where its plain product gives the trainer's log-probabilities.

    It does not with a soft cap or a logit scale. That is found once, on the first micro-batch that has tokens.
    """

    def __init__(self):
        self.match: bool | None = None

    def at_tokens(
        self,
        head: Any,
        states: Float[Tensor, "b n d"],
        ids: Any,
        logprobs: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        temperature: float,
    ) -> SumsOf | None:
        """The statistics as a function of flat indices (k,) into (b t), on the device of the indices.

        None where the product does not match, or where the LM head is sharded: gathering it would cost a pass.

        Args:
            head: the LM head.
            states: last hidden states, of prompt and completion.
            ids: the completion's tokens, (b t).
            logprobs: the trainer's, of those tokens.
            mask: trained tokens.
        """
        weight = head.weight
        if (
            self.match is False
            or type(weight) not in (nn.Parameter, Tensor)
            or weight.dim() != 2
        ):
            return None
        if weight.shape[-1] != states.shape[-1]:
            return None
        at = _projected(
            head, states[:, -ids.size(1) - 1 : -1], ids, temperature
        )  # position t predicts token t + 1
        if self.match is None:
            probe = mask.reshape(-1).nonzero().squeeze(-1)[:64]
            if probe.numel():
                gap = (
                    (at(probe).logprobs[0] - logprobs.reshape(-1)[probe]).abs().median()
                )
                self.match = bool(gap < 0.02)
        return at if self.match is not False else None


def _projected(
    head: Any, states: Float[Tensor, "b t d"], ids: Any, temperature: float
) -> SumsOf:
    """Sums at flat indices into (b t). A model that device_map splits may have its states elsewhere than its head."""
    weight, width = head.weight, ids.size(1)

    def chunk(flat: Tensor) -> TokenStats:
        rows = flat.to(states.device)
        chosen = states[rows // width, rows % width].to(weight.device, weight.dtype)
        logits = F.linear(chosen, weight, getattr(head, "bias", None))
        taken = ids.reshape(-1)[flat].to(weight.device)
        return token_stats(logits[None], taken[None], temperature=temperature)

    def at(flat: Tensor) -> TokenStats:
        parts = zip(*map(chunk, flat.split(_CHUNK)), strict=True)
        return TokenStats(*(torch.cat(part, dim=1).to(flat.device) for part in parts))

    return at


@torch.no_grad()
def completion_stats(
    model: nn.Module,
    ids: Tensor,
    attention: Tensor,
    width: int,
    temperature: float,
    *,
    vocabulary: int,
    most: int | None = None,
) -> TokenStats:
    """Statistics of the last `width` tokens of each row of `ids` (b t), from forward passes of text.

    A pass takes as many rows as `LOGITS` lets, one at least, and `most` at most.
    """
    rows = max(1, LOGITS // ((width + 1) * vocabulary))
    rows = rows if most is None else min(rows, most)
    parts = []
    for i in range(0, len(ids), rows):
        at = slice(i, i + rows)
        logits = model(
            input_ids=ids[at], attention_mask=attention[at], logits_to_keep=width + 1
        ).logits
        parts.append(
            token_stats(
                logits[:, -width - 1 : -1], ids[at, -width:], temperature=temperature
            )
        )
    return TokenStats(*(torch.cat(part) for part in zip(*parts, strict=True)))
