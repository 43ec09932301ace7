"""PPO inside TRL's GRPOTrainer: a critic, and advantages per token by GAE in place of the
group's.

TRL's loss takes advantages of shape (b t), and everything else stays its own. These
methods of the trainer are overridden, and each calls super:

    _generate_and_score_completions   once per rollout: values, GAE, whitening over all
                                      ranks
    _compute_loss, training_step      after the policy's backward pass, the critic's on
                                      the same micro-batch
    log                               the critic's loss
    _save_checkpoint, _load_optimizer_and_scheduler
                                      the critic and its optimizer travel with TRL's
                                      checkpoints

The mixin stands below the entropy control, which sees its advantages as it sees any:
EntropyControlPPOTrainer.
"""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from entrostat.advantage import gae, whiten
from entrostat.engines.batch import trained_tokens
from entrostat.engines.checkpoint import checkpoint_folder
from entrostat.engines.critic import Critic
from entrostat.engines.scored import ScoredMixin
from entrostat.engines.trl import (
    PREFIX,
    EntropyControlMixin,
    window_tokens,
)
from entrostat.engines.trl_surface import GRPOTrainer

CRITIC_FILE = "entrostat_critic.pt"
# What we add to a rollout: TRL shuffles and splits it along with its own tensors.
_VALUES, _RETURNS = "entrostat_values", "entrostat_returns"
# tokens that have a return
_VALUED = "entrostat_valued"


class CriticMixin(ScoredMixin):
    """Mix into a subclass of GRPOTrainer, before it and after EntropyControlMixin.

    The reward of a completion (TRL's weighted sum, before any comparison within its
    group) comes with its last trained token. There is no KL term in it. A completion
    that no reward function scored trains neither policy nor critic.

    Args:
        gae_gamma, gae_lambda: as `gae`. 1 and 1 are verl's defaults: with them a poor
            critic adds noise and no bias.
        normalise: advantages less their mean over the rollout's trained tokens of all
            ranks and over their standard deviation ("std", as PPO does for language
            models); less their mean alone ("mean"); as they are ("none").
        critic_learning_rate: AdamW, constant. Ten times the policy's is verl's choice.
        value_clip: as `value_loss`; 0.2 is PPO's.

    Logged: `entrostat/value_loss` (token-weighted mean over the updates) and
    `entrostat/explained_variance` (of the discounted reward, by the values that the
    advantages were made with; left out where all of it is equal).

    Raises:
        ValueError: at construction, an option out of range, or a trainer that the critic
            was not made for.
    """

    def __init__(
        self,
        *args: Any,
        gae_gamma: float = 1.0,
        gae_lambda: float = 1.0,
        normalise: Literal["std", "mean", "none"] = "std",
        critic_learning_rate: float = 1e-5,
        value_clip: float = 0.2,
        **kwargs: Any,
    ):
        _check_gae(gae_gamma, gae_lambda, critic_learning_rate)
        if normalise not in ("std", "mean", "none"):
            raise ValueError(
                f"normalise must be 'std', 'mean' or 'none', got {normalise!r}"
            )
        if not value_clip > 0:
            raise ValueError(f"value_clip must be over 0, got {value_clip}")
        super().__init__(*args, **kwargs)
        self._check_trainer()
        self.gae_gamma = gae_gamma
        self.gae_lambda = gae_lambda
        self.normalise = normalise
        self.critic = Critic(
            self.model,
            self.accelerator,
            learning_rate=critic_learning_rate,
            clip=value_clip,
            max_grad_norm=self.args.max_grad_norm,
        )
        self._micro_batch: dict[str, Any] | None = None
        self._losses: list[Tensor] = []

    def _check_trainer(self) -> None:
        refused = {
            "DeepSpeed": self.is_deepspeed_enabled,
            "FSDP": self.is_fsdp_enabled,
            "fp16": self.args.fp16,
            "a PEFT model": hasattr(self.model, "peft_config"),
            "images": self._is_vlm,
        }
        for what, is_there in refused.items():
            if is_there:
                raise ValueError(
                    f"the critic does not work with {what}: use one process or DDP, in "
                    "float32 or bf16, a whole text model, or advantages relative to the "
                    "group (EntropyControlGRPOTrainer)"
                )

    # The rollout

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rewards = self._rewards_of(output)
        mask = trained_tokens(output) & rewards.isfinite()[:, None]
        values = self.critic.values(output, self.args.per_device_train_batch_size)
        estimates = gae(
            rewards, values, mask, gamma=self.gae_gamma, lam=self.gae_lambda
        )
        output["advantages"] = self._normalised(estimates.advantages, mask)
        output[_VALUES] = values
        output[_RETURNS] = estimates.returns
        output[_VALUED] = mask
        if self.model.training:
            self._log_explained_variance(rewards, values, mask)
        return output

    def _normalised(
        self, advantages: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        if self.normalise == "none":
            return advantages
        scale = self.normalise == "std"
        return whiten(advantages, mask, scale=scale, reduce=self._over_ranks)

    def _over_ranks(self, values: Tensor) -> Tensor:
        """The sum over all ranks."""
        return self.accelerator.reduce(values, reduction="sum")

    def _log_explained_variance(
        self,
        rewards: Float[Tensor, " b"],
        values: Float[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
    ) -> None:
        """1 - Var(G - V) / Var(G) over trained tokens of all ranks, G the discounted
        reward, whatever lambda is."""
        # with no values in it, GAE's return at lambda 1 is the discounted reward
        nothing = torch.zeros_like(values)
        returns = gae(rewards, nothing, mask, gamma=self.gae_gamma).returns
        variance = self._squares_about_mean(returns, mask)
        unexplained = self._squares_about_mean(returns - values, mask)
        both = torch.stack([variance, unexplained])
        total, left = self._over_ranks(both).tolist()
        if total > 0:
            explained = 1 - left / total
            self._metrics["train"][PREFIX + "explained_variance"].append(explained)

    def _squares_about_mean(
        self, values: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, ""]:
        """This rank's sum of squares about the mean of all ranks."""
        centred = whiten(values, mask, scale=False, reduce=self._over_ranks)
        return centred.square().sum()

    # The updates

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        self._micro_batch = inputs
        return super()._compute_loss(model, inputs)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's step on one micro-batch, then the critic's: its graph is made once the
        policy's is gone."""
        loss = super().training_step(*args, **kwargs)
        batch, self._micro_batch = self._micro_batch, None
        assert batch is not None
        critic_loss = self.critic.update(
            batch,
            batch[_VALUES],
            batch[_RETURNS],
            batch[_VALUED],
            window_tokens(self, batch),
        )
        # here, where every rank is: a log may come on one alone
        self._losses.append(self._over_ranks(critic_loss))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training and self._losses:
            total, tokens = torch.stack(self._losses).sum(0).tolist()
            mean = total / max(tokens, 1.0)
            self._metrics["train"][PREFIX + "value_loss"].append(mean)
            self._losses = []
        super().log(logs, start_time)

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.args.should_save:
            self.critic.save(checkpoint_folder(self, trial) / CRITIC_FILE)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / CRITIC_FILE
        if not path.exists():
            raise ValueError(
                f"{path} is missing, so there is no critic to go on with: resume from a "
                "checkpoint of an EntropyControlPPOTrainer, or start from the model alone"
            )
        self.critic.load(path)


def _check_gae(gamma: float, lam: float, learning_rate: float) -> None:
    """Raises ValueError for options of GAE and its critic that are out of range."""
    for name, value in (("gae_gamma", gamma), ("gae_lambda", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"critic_learning_rate must be over 0, got {learning_rate}")


class EntropyControlPPOTrainer(EntropyControlMixin, CriticMixin, GRPOTrainer):
    """EntropyControlGRPOTrainer with a critic and GAE: PPO. See CriticMixin."""
