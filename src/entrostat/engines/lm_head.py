"""Full-vocabulary statistics at chosen tokens, from the hidden states of a pass that the trainer has just made."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from entrostat.engines.meter import SumsOf
from entrostat.entropy import TokenStats, token_stats


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
        """The statistics as a function of flat indices (k,) into (b t).

        None where the product does not match, or where the LM head is sharded: gathering it would cost a pass.

        Args:
            head: the LM head.
            states: last hidden states, of prompt and completion.
            ids: the completion's tokens, (b t).
            logprobs: the trainer's, of those tokens.
            mask: trained tokens.
        """
        weight = head.weight
        if self.match is False or type(weight) not in (nn.Parameter, Tensor) or weight.dim() != 2:
            return None
        if weight.shape[-1] != states.shape[-1]:
            return None
        states = states[:, -ids.size(1) - 1 : -1]  # position t predicts token t + 1

        def at(flat: Tensor) -> TokenStats:
            chosen = states.reshape(-1, states.size(-1))[flat].to(weight.dtype)
            logits = F.linear(chosen, weight, getattr(head, "bias", None))
            return token_stats(logits[None], ids.reshape(-1)[flat][None], temperature=temperature)

        if self.match is None:
            probe = mask.reshape(-1).nonzero().squeeze(-1)[:64]
            if probe.numel():
                gap = (at(probe).logprobs[0] - logprobs.reshape(-1)[probe]).abs().median()
                self.match = bool(gap < 0.02)
        return at if self.match is not False else None
