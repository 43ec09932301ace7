"""Everything that the TRL engine touches in TRL's GRPOTrainer and transformers' Trainer.

This file is the typed base class of the mixins in trl.py, passes.py, measure.py,
scored.py, dump.py and ppo.py, and the checklist for TRL's next release. Each name says
which of those files uses it and for what. What is checked when a trainer's class is
created:

- The trainer is a GRPOTrainer, stands behind the mixins, and has its loss.
- Every method of `Surface` exists: a renamed one would never call ours.
- Every attribute of `Surface` occurs in the trainer's code.
- TRL's loss reads all of `READ_BY_LOSS`: bounds that nothing reads would do nothing.

What stays to be looked at by hand is whether a name still means the same. The parity
tests are the judge of it: `make test-trl-other TRL=VERSION` runs them under another
release. If they pass, raise the version in trainers.py, pyproject.toml and
constraints.txt.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from entrostat.engines.overrides import (
    check_overrides,
    check_used,
    functions_of,
    methods_of,
    stands_before,
    trainer_below,
    versions_of,
)
from entrostat.trainers import TESTED_TRL

_CURE = f"trl=={TESTED_TRL}"

try:
    # the folder of a checkpoint: PREFIX-STEP
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

    # for passes of our own: TRL makes its own without gradient in the same way
    from trl.models.utils import disable_gradient_checkpointing
    from trl.trainer.grpo_trainer import GRPOTrainer
except ImportError as error:
    if not (error.name or "").startswith(("trl.", "transformers.")):
        raise  # something is not installed at all, such as TRL
    raise RuntimeError(f"{error}: install {_CURE}") from error

__all__ = [
    "PREFIX_CHECKPOINT_DIR",
    "Base",
    "GRPOTrainer",
    "disable_gradient_checkpointing",
]


class Surface:
    """What the mixins stand on. Never instantiated, and a base class for pyright alone:
    at run time its methods would hide the trainer's."""

    # TRL's and transformers' attributes

    args: Any
    """trl, passes, measure, dump, ppo, guards: the GRPOConfig."""
    state: Any
    """trl, measure, dump, guards, checkpoint: `global_step`, and in trl `max_steps`."""
    model: Any
    """trl, dump, ppo: the policy; its `training` tells updates from evaluation."""
    accelerator: Any
    """trl, passes, measure, scored, dump, ppo: sums over ranks, their numbers, and what
    they have wrapped a model in."""
    processing_class: Any
    """dump: decodes tokens."""
    _tokenizer: Any
    """scored: its padding."""
    ref_model: Any
    """passes: its passes are not the policy's."""
    reward_funcs: list[Any]
    """trl: each gets a guard around it."""
    reward_weights: Tensor
    """scored: weights of the sum of a completion's rewards."""
    temperature: float
    """trl, passes, measure, dump: of the sampler, which logits are divided by."""
    importance_sampling_level: str
    """trl, measure, dump: whether a ratio belongs to a token or to a sequence."""
    num_generations: int
    """trl, dump: completions of one prompt, which stand side by side."""
    epsilon_low: Any
    """trl: set to a tensor of bounds while TRL's loss runs."""
    epsilon_high: Any
    """trl: as epsilon_low."""
    current_gradient_accumulation_steps: int
    """trl (for ppo too): micro-batches of this update, in the normalizer of a loss."""
    is_deepspeed_enabled: bool
    """ppo: refused beside a critic."""
    is_fsdp_enabled: bool
    """ppo: refused beside a critic."""
    _is_vlm: bool
    """trl, ppo: whether the model takes images."""
    _metrics: Any
    """trl, measure, ppo: lists of numbers by mode and name; TRL logs their means."""
    _step: int
    """trl, measure, dump: micro-batches so far; 0 again after a resume."""
    _get_output_dir: Callable[..., str]
    """checkpoint: where checkpoints stand."""

    def __init__(self, *args: Any, **kwargs: Any): ...

    # Methods of theirs that we override

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """trl: old statistics, then the controller observes. scored: a new rollout.
        dump: sample numbers and rewards. ppo: values and advantages."""
        ...

    def _generate(self, prompts: list[Any]) -> Any:
        """scored: keeps the prompts' tokens, first of what it returns."""
        ...

    def _calculate_rewards(self, *args: Any) -> Tensor:
        """scored: keeps the rewards of all ranks, (b n), before TRL weighs them."""
        ...

    def _get_per_token_logps_and_entropies(
        self, model: nn.Module, *args: Any, **kwargs: Any
    ) -> Any:
        """passes: keeps the per-token tensors of every pass of the policy."""
        ...

    def get_high_entropy_mask(self, *args: Any, **kwargs: Any) -> Tensor:
        """passes: keeps which tokens top_entropy_quantile leaves in the loss."""
        ...

    def get_off_policy_mask(self, *args: Any, **kwargs: Any) -> Tensor:
        """passes: keeps which sequences off_policy_mask_threshold leaves in."""
        ...

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """trl: sets the bounds, then adds the objective's term. ppo: keeps the
        micro-batch."""
        ...

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """trl: looks at what can be seen only now."""
        ...

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """trl: looks whether the loss was ours. ppo: the critic's update after the
        policy's."""
        ...

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """measure, ppo: add the means since the last log."""
        ...

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """trl: writes the controller's state. ppo: writes the critic."""
        ...

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """trl, ppo: read what they wrote."""
        ...


METHODS = methods_of(Surface)
"""Every method of TRL's or transformers' that we override."""
ATTRIBUTES = tuple(Surface.__annotations__)
"""Every attribute of theirs that we read, set or call."""
READ_BY_LOSS = (
    # attributes that we set
    "epsilon_low",
    "epsilon_high",
    # what a rollout holds: engines/batch.py, trl.py and ppo.py read or replace it
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "advantages",
    "old_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
    "num_items_in_batch",
)
"""Names that must occur in TRL's `_compute_loss`. We take a key that a rollout lacks for
an option that is off, so a renamed one would be ignored without an error."""


def check_surface(cls: type, trainer: type) -> None:
    """Raises RuntimeError where `trainer`, which our class `cls` extends, lacks a name
    that the engine rests on. The sentence names it, and the TRL to install."""
    check_overrides(cls, trainer, METHODS, _CURE)
    check_used(trainer, functions_of(trainer), ATTRIBUTES, _CURE)
    losses = versions_of(trainer, "_compute_loss")
    check_used(trainer, losses, READ_BY_LOSS, _CURE, where=" in _compute_loss")


def check_fits(cls: type, trainer: type) -> None:
    """Raises RuntimeError where `trainer` is none that entropy control fits."""
    name = trainer.__name__
    modules = [base.__module__ for base in trainer.__mro__]
    if any(module.startswith("trl.experimental.async_grpo") for module in modules):
        raise RuntimeError(
            f"{cls.__name__} puts entropy control on {name}, which is asynchronous: use "
            "AsyncEntropyControlMixin of entrostat.engines.trl_async"
        )
    if not issubclass(trainer, GRPOTrainer):
        raise RuntimeError(
            f"{cls.__name__} puts entropy control on {name}, which has no clipped loss of "
            "TRL's: it fits trl.GRPOTrainer and subclasses of it, and not RLOO, SDPO, "
            "A2PO, SFT, DPO or transformers.Trainer"
        )
    if any(module.startswith("trl.experimental.gmpo") for module in modules):
        raise RuntimeError(
            f"{cls.__name__} puts entropy control on {name}, whose loss clips the "
            "logarithm of the ratio, and whose tokens share one weight: use GRPOTrainer, "
            "where bounds of a token's own ratio act"
        )
    if stands_before(cls, trainer, Checked):
        raise RuntimeError(
            f"{cls.__name__} names {name} before entropy control, whose methods would "
            f"never run: class {cls.__name__}(EntropyControlMixin, {name})"
        )


class Checked:
    """Base of the mixins at run time: checks the trainer that a class mixes them into."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        trainer = trainer_below(cls, Checked, GRPOTrainer)
        if trainer is not None:
            check_fits(cls, trainer)
            check_surface(cls, trainer)


if TYPE_CHECKING:
    Base = Surface
else:
    Base = Checked
