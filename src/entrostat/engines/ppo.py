"""PPO inside TRL's GRPOTrainer: a critic, and advantages per token by GAE in place of the group's.

TRL's loss takes advantages of shape (b t), and everything else stays its own. Four of its methods are overridden, each
calling super:

    _calculate_rewards                 keeps the rewards, before TRL compares them within groups
    _generate_and_score_completions    once a rollout: values, GAE, whitening over all ranks
    training_step                      after the policy's backward pass, the critic's on the same micro-batch
    _save_checkpoint, _load_optimizer_and_scheduler    the critic and its optimizer travel with TRL's checkpoints

The mixin stands below the entropy control, which sees its advantages as it sees any: EntropyControlPPOTrainer.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_trainer import GRPOTrainer

from entrostat.advantage import gae, whiten
from entrostat.engines.batch import trained_tokens
from entrostat.engines.critic import Critic
from entrostat.engines.rewards import weighted
from entrostat.engines.trl import PREFIX, EntropyControlMixin

CRITIC_FILE = "entrostat_critic.pt"
# what we add to a rollout: TRL shuffles and splits it along with its own tensors
_VALUES, _RETURNS, _VALUED = "entrostat_values", "entrostat_returns", "entrostat_valued"

if TYPE_CHECKING:

    class _Base:
        """What the mixin stands on, of TRL's trainer and of transformers'."""

        args: Any
        state: Any
        model: Any
        accelerator: Any
        reward_weights: Tensor
        is_deepspeed_enabled: bool
        is_fsdp_enabled: bool
        current_gradient_accumulation_steps: int
        _metrics: Any
        _is_vlm: bool

        def __init__(self, *args: Any, **kwargs: Any): ...
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]: ...
        def _calculate_rewards(self, *args: Any) -> Tensor: ...
        def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor: ...
        def training_step(self, *args: Any, **kwargs: Any) -> Tensor: ...
        def _get_output_dir(self, trial: Any) -> str: ...
        def _save_checkpoint(self, model: nn.Module, trial: Any) -> None: ...
        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...
        def log(
            self, logs: dict[str, float], start_time: float | None = None
        ) -> None: ...

else:
    _Base = object


class CriticMixin(_Base):
    """Mix into a subclass of GRPOTrainer, before it and after EntropyControlMixin.

    The reward of a completion (TRL's weighted sum, before any comparison within its group) comes with its last trained
    token; there is no KL term in it. One that no reward function scored trains neither policy nor critic.

    Args:
        gae_gamma, gae_lambda: as `gae`. 1 and 1 are verl's defaults: with them a poor critic adds noise and no bias.
        normalise: advantages less their mean over the rollout's trained tokens of all ranks and over their standard
            deviation ("std", as PPO does for language models); less their mean alone ("mean"); as they are ("none").
        critic_learning_rate: AdamW, constant. Ten times the policy's is verl's choice.
        value_clip: as `value_loss`; .2, PPO's.

    Logged: `entrostat/value_loss` (token-weighted mean over the updates) and `entrostat/explained_variance` (of the
    discounted reward, by the values that the advantages were made with; left out where all of it is equal).

    Raises ValueError at construction for an option out of range, and for a trainer that the critic was not made for.
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
        check_gae(gae_gamma, gae_lambda, critic_learning_rate)
        if normalise not in ("std", "mean", "none"):
            raise ValueError(
                f"normalise must be 'std', 'mean' or 'none', got {normalise!r}"
            )
        if not value_clip > 0:
            raise ValueError(f"value_clip must be over 0, got {value_clip}")
        super().__init__(*args, **kwargs)
        self._check_trainer()
        self.gae_gamma, self.gae_lambda, self.normalise = (
            gae_gamma,
            gae_lambda,
            normalise,
        )
        self.critic = Critic(
            self.model,
            self.accelerator,
            learning_rate=critic_learning_rate,
            clip=value_clip,
            max_grad_norm=self.args.max_grad_norm,
        )
        self._raw_rewards: Tensor | None = None
        self._micro_batch: dict[str, Any] | None = None
        self._losses: list[Tensor] = []

    def _check_trainer(self) -> None:
        unknown = {
            "DeepSpeed": self.is_deepspeed_enabled,
            "FSDP": self.is_fsdp_enabled,
            "fp16": self.args.fp16,
            "a PEFT model": hasattr(self.model, "peft_config"),
            "images": self._is_vlm,
        }
        for what, there in unknown.items():
            if there:
                raise ValueError(
                    f"the critic does not work with {what}: use one process or DDP, in float32 or bf16, a whole text "
                    "model, or advantages relative to the group (EntropyControlGRPOTrainer)"
                )

    # The rollout

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args)
        self._raw_rewards = weighted(rewards, self.reward_weights)
        return rewards

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        assert self._raw_rewards is not None
        b = len(output["completion_ids"])
        rewards = self._raw_rewards[self.accelerator.process_index * b :][:b]
        mask = trained_tokens(output) & rewards.isfinite()[:, None]
        values = self.critic.values(output, self.args.per_device_train_batch_size)
        found = gae(rewards, values, mask, gamma=self.gae_gamma, lam=self.gae_lambda)
        output |= {"advantages": self._normalised(found.advantages, mask)}
        output |= {_VALUES: values, _RETURNS: found.returns, _VALUED: mask}
        if self.model.training:
            self._log_explained_variance(rewards, values, mask)
        return output

    def _normalised(self, advantages: Tensor, mask: Tensor) -> Tensor:
        if self.normalise == "none":
            return advantages
        return whiten(
            advantages, mask, scale=self.normalise == "std", reduce=self._sum_over_ranks
        )

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="sum")

    def _log_explained_variance(
        self, rewards: Tensor, values: Tensor, mask: Tensor
    ) -> None:
        """1 - Var(G - V) / Var(G) over trained tokens of all ranks, G the discounted reward, whatever lambda is."""
        aim = gae(rewards, torch.zeros_like(values), mask, gamma=self.gae_gamma).returns
        spread, missed = (
            whiten(x, mask, scale=False, reduce=self._sum_over_ranks)
            for x in (aim, aim - values)
        )
        total, left = self._sum_over_ranks(
            torch.stack([spread.square().sum(), missed.square().sum()])
        ).tolist()
        if total > 0:
            self._metrics["train"][PREFIX + "explained_variance"].append(
                1 - left / total
            )

    # The updates

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        self._micro_batch = inputs
        return super()._compute_loss(model, inputs)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's step on one micro-batch, then the critic's: its graph is made once the policy's is gone."""
        loss = super().training_step(*args, **kwargs)
        batch, self._micro_batch = self._micro_batch, None
        assert batch is not None
        # TRL's normalizer of loss type dapo: trained tokens of one accumulation window, per rank
        tokens = (
            batch["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        )
        tokens = (
            tokens
            * self.current_gradient_accumulation_steps
            / self.args.steps_per_generation
        )
        self._losses.append(
            self.critic.update(
                batch, batch[_VALUES], batch[_RETURNS], batch[_VALUED], tokens
            )
        )
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training and self._losses:
            total, tokens = self._sum_over_ranks(
                torch.stack(self._losses).sum(0)
            ).tolist()
            self._metrics["train"][PREFIX + "value_loss"].append(
                total / max(tokens, 1.0)
            )
            self._losses = []
        super().log(logs, start_time)

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = (
            Path(self._get_output_dir(trial=trial))
            / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        )
        if self.args.should_save:
            # before TRL writes: whoever finds its trainer_state.json, written last, finds the critic too
            os.makedirs(folder, exist_ok=True)
            self.critic.save(folder / CRITIC_FILE)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / CRITIC_FILE
        if not path.exists():
            raise ValueError(
                f"{path} is missing, so there is no critic to go on with: resume from a checkpoint of an "
                "EntropyControlPPOTrainer, or start from the model alone"
            )
        self.critic.load(path)


def check_gae(gamma: float, lam: float, learning_rate: float) -> None:
    """Raises ValueError for options of GAE and its critic that are out of range."""
    for name, value in (("gae_gamma", gamma), ("gae_lambda", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"critic_learning_rate must be over 0, got {learning_rate}")


class EntropyControlPPOTrainer(EntropyControlMixin, CriticMixin, GRPOTrainer):
    """EntropyControlGRPOTrainer with a critic and GAE: PPO. See CriticMixin."""
