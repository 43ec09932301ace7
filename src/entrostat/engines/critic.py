"""PPO's critic: a value for each completion token, from a second model with a head on it,
and its update."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from entrostat.engines.batch import sequences


def value_loss(
    values: Float[Tensor, "b t"],
    old_values: Float[Tensor, "b t"],
    returns: Float[Tensor, "b t"],
    clip: float,
) -> Float[Tensor, "b t"]:
    """PPO's clipped value loss per token, in squared units of the reward: half the larger
    of two squared errors.

    1/2 max((V - R)^2, (V_old + clamp(V - V_old, -clip, clip) - R)^2), as in PPO's
    released code (openai/baselines, ppo2/model.py): the clip takes the gradient of a
    value that has gone further than `clip` towards its return.
    """
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    error, clipped_error = values - returns, clipped - returns
    return 0.5 * torch.maximum(error.square(), clipped_error.square())


class ValueModel(nn.Module):
    """A copy of a causal language model's backbone, with a linear head in float32 that
    starts at zero: V = 0.

    It stays in evaluation mode: dropout would add noise to values, and draw from the
    sampler's random numbers too.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.backbone = copy.deepcopy(model.base_model)
        width = model.config.get_text_config().hidden_size
        # skipped: drawing initial weights would move the sampler's random numbers
        self.head = skip_init(nn.Linear, width, 1, dtype=torch.float32)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.eval()

    def forward(
        self, ids: Tensor, attention_mask: Tensor, width: int
    ) -> Float[Tensor, "b width"]:
        """Values of the states before each of the last `width` tokens of `ids`, in units
        of the reward."""
        output = self.backbone(
            input_ids=ids, attention_mask=attention_mask, use_cache=False
        )
        states = output.last_hidden_state[:, -width - 1 : -1].float()
        # autocast would run the head in half precision, too coarse for a regression
        with torch.autocast(states.device.type, enabled=False):
            return self.head(states).squeeze(-1)


class Critic:
    """A value model with its own AdamW at a constant learning rate, under a trainer's
    accelerator.

    Args:
        model: the policy, not wrapped yet: the value model starts from its weights.
        accelerator: averages gradients over ranks, and says when an accumulation window
            ends.
        learning_rate: of AdamW, no weight decay.
        clip: half-width of the value clip, in units of the reward.
        max_grad_norm: the gradient norm is cut to this; 0 leaves it, as transformers'
            trainer does.
    """

    def __init__(
        self,
        model: Any,
        accelerator: Any,
        *,
        learning_rate: float,
        clip: float,
        max_grad_norm: float,
    ):
        self.accelerator = accelerator
        self.clip = clip
        self.max_grad_norm = max_grad_norm
        self.module = ValueModel(model)
        optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=learning_rate, weight_decay=0.0
        )
        self.model, self.optimizer = accelerator.prepare(self.module, optimizer)

    @torch.no_grad()
    def values(self, batch: dict[str, Any], chunk: int) -> Float[Tensor, "b t"]:
        """Values of a rollout's completion tokens, `chunk` completions at a time."""
        ids, attention, width = sequences(batch)
        parts = []
        with self.accelerator.autocast():
            for start in range(0, len(ids), chunk):
                at = slice(start, start + chunk)
                parts.append(self.module(ids[at], attention[at], width))
        return torch.cat(parts)

    def update(
        self,
        batch: dict[str, Any],
        old_values: Float[Tensor, "b t"],
        returns: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        tokens: Float[Tensor, ""],
    ) -> Float[Tensor, " 2"]:
        """One micro-batch, and at the end of an accumulation window a step: its summed
        loss and its number of tokens.

        Args:
            batch: TRL's micro-batch.
            mask: tokens that have a return; the others may hold anything.
            tokens: what the sum of losses is divided by: trained tokens of a window, per
                rank.
        """
        last = self.accelerator.sync_gradients
        unsynced = self.accelerator.no_sync(self.model)
        with contextlib.nullcontext() if last else unsynced:
            values = self.model(*sequences(batch))
            # where before the squares: a masked token must not reach the backward pass
            # as NaN
            values = torch.where(mask, values, 0.0)
            old_values = torch.where(mask, old_values, 0.0)
            returns = torch.where(mask, returns, 0.0)
            total = value_loss(values, old_values, returns, self.clip).sum()
            self.accelerator.backward(total / tokens)
        if last:
            self._step()
        return torch.stack([total.detach(), mask.sum().to(total.dtype)])

    def _step(self) -> None:
        if self.max_grad_norm > 0:
            self.accelerator.clip_grad_norm_(
                self.model.parameters(), self.max_grad_norm
            )
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, path: Path) -> None:
        """Writes weights and optimizer."""
        state = {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, path)

    def load(self, path: Path) -> None:
        """Takes what `save` wrote."""
        # not the accelerator's device: on CPU ranks that is cpu:0, which torch.load does
        # not know
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.module.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
