"""Everything that the asynchronous engine touches in TRL's AsyncGRPOTrainer.

As trl_surface.py for GRPOTrainer: the typed base class of the mixin in trl_async.py, and
the checklist for TRL's next release. When a trainer's class is created it is checked that
each method exists, that each attribute occurs in the trainer's code, and that the names
which `READ_BY` lists occur in the function that reads them.
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
    from trl.experimental.async_grpo.async_grpo_trainer import (
        AsyncGRPOTrainer,
        DataCollatorForRollout,
        FixedCountBatcher,
        RolloutQueueDataset,
        TokenBudgetBatcher,
    )
except ImportError as error:
    if not (error.name or "").startswith("trl."):
        raise  # something is not installed at all, such as TRL
    raise RuntimeError(f"{error}: install {_CURE}") from error

__all__ = ["AsyncGRPOTrainer", "Base"]


class Surface:
    """What the mixin stands on. Never instantiated, and a base class for pyright alone:
    at run time its methods would hide the trainer's."""

    # TRL's and transformers' attributes

    args: Any
    """The AsyncGRPOConfig; checkpoint and guards read it too."""
    state: Any
    """`global_step`, `max_steps`; checkpoint and guards read it too."""
    model: Any
    """The policy; its configuration has the size of the vocabulary."""
    accelerator: Any
    """Sums over ranks."""
    epsilon_low: Any
    """Set to a tensor of bounds between the policy's pass and the clamp."""
    epsilon_high: Any
    """As epsilon_low."""
    model_version: int
    """Of the policy that the server has; counted on the main process."""
    _metrics: Any
    """Lists of numbers by mode and name; TRL logs their means."""
    _trained_groups: Any
    """Prompts trained on since the start of the process, on the main process."""
    _groups_before_resume: int
    """Prompts trained on before it, likewise."""
    _epoch_stop_groups: int | None
    """Prompts after which the run ends; None where `max_steps` ends it."""
    _get_output_dir: Callable[..., str]
    """checkpoint: where checkpoints stand."""

    def __init__(self, *args: Any, **kwargs: Any): ...

    # Methods of theirs that we override

    def compute_loss(
        self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Once a micro-batch: bounds are set after its pass."""
        ...

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Looks whether the loss was ours."""
        ...

    def get_train_dataloader(self) -> Any:
        """Its batches get the versions of their samples."""
        ...

    def _sync_weight(self) -> None:
        """Publishes a version; the update that it holds is noted."""
        ...

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """What a former run in this process has left is forgotten."""
        ...

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means since the last log."""
        ...

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes the controller's state."""
        ...

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Reads it."""
        ...


METHODS = methods_of(Surface)
"""Every method of TRL's or transformers' that we override."""
ATTRIBUTES = tuple(Surface.__annotations__)
"""Every attribute of theirs that we read, set or call."""
READ_BY_LOSS = (
    # attributes that we set
    "epsilon_low",
    "epsilon_high",
    # what the policy's pass gives: trl_async.py reads it there
    "log_probs",
    "entropy",
    # what a batch holds: trl_async_batch.py reads it
    "token_index",
    "old_log_probs",
    "advantages",
    "segment_id",
)
"""Names that must occur in TRL's `compute_loss`."""
READ_BY_LOADER = (
    (RolloutQueueDataset, "__iter__", ("queue", "get", "qsize", "model_version")),
    (FixedCountBatcher, "__iter__", ("dataset", "group_id")),
    (TokenBudgetBatcher, "__iter__", ("dataset",)),
    (DataCollatorForRollout, "torch_call", ("samples", "pack")),
)
"""Names that must occur in the functions that make a batch: trl_async_batch.py stands
between them."""


def check_surface(cls: type, trainer: type) -> None:
    """Raises RuntimeError where `trainer`, which our class `cls` extends, or what makes
    its batches lacks a name that the engine rests on."""
    check_overrides(cls, trainer, METHODS, _CURE)
    check_used(trainer, functions_of(trainer), ATTRIBUTES, _CURE)
    losses = versions_of(trainer, "compute_loss")
    check_used(trainer, losses, READ_BY_LOSS, _CURE, where=" in compute_loss")
    for part, method, names in READ_BY_LOADER:
        function = vars(part)[method]
        check_used(part, [function], names, _CURE, where=f" in {method}")


def check_fits(cls: type, trainer: type) -> None:
    """Raises RuntimeError where `trainer` is none that the asynchronous engine fits."""
    name = trainer.__name__
    if not issubclass(trainer, AsyncGRPOTrainer):
        raise RuntimeError(
            f"{cls.__name__} puts asynchronous entropy control on {name}: it fits "
            "trl.experimental.async_grpo.AsyncGRPOTrainer and subclasses of it; for "
            "GRPOTrainer use EntropyControlMixin of entrostat.engines.trl"
        )
    if stands_before(cls, trainer, Checked):
        raise RuntimeError(
            f"{cls.__name__} names {name} before entropy control, whose methods would "
            f"never run: class {cls.__name__}(AsyncEntropyControlMixin, {name})"
        )


class Checked:
    """Base of the mixin at run time: checks the trainer that a class mixes it into."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        trainer = trainer_below(cls, Checked, AsyncGRPOTrainer)
        if trainer is not None:
            check_fits(cls, trainer)
            check_surface(cls, trainer)


if TYPE_CHECKING:
    Base = Surface
else:
    Base = Checked
