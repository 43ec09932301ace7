"""The options of `entrostat pretrain`; nothing here imports torch."""

import dataclasses
import math
import shlex
from pathlib import Path

from entrostat.files import is_taken
from entrostat.lab.options import option
from entrostat.lab.tasks import make_task

_LEAST = {"steps": 1, "batch": 1, "warmup": 0, "eval_problems": 2, "eval_samples": 1}
"""An interval over problems needs two of them."""


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Make a base model for a task of the lab."""

    out: Path
    """Folder to write the model to; it must be empty or not exist."""
    task: str = "countdown"
    """Name of the task."""
    steps: int = 750
    """Optimizer steps."""
    batch: int = 128
    """Problems per step, one demonstration each."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW; it falls to zero along a half cosine."""
    weight_decay: float = 0.5
    """Weight decay of AdamW."""
    warmup: int = 20
    """Steps over which the learning rate first rises linearly from zero."""
    seed: int = 0
    """Seed of the weights, the problems and the demonstrations."""
    eval_problems: int = 256
    """Test problems for the scores on the model card."""
    eval_samples: int = 32
    """Samples of each test problem at each temperature."""

    def __post_init__(self) -> None:
        make_task(self.task)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} is {value}; use at least {least}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate is {self.learning_rate}; use a positive number, such "
                "as 2e-3"
            )
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}; use 0 or more")

    @property
    def command(self) -> str:
        """The command line that repeats this run."""
        words = ["entrostat", "pretrain", "--task", self.task]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("out", "task") and value != field.default:
                words += [option(field.name), shlex.quote(str(value))]
        return " ".join([*words, "--out DIR"])


def refuse_taken(out: Path) -> None:
    """Raises FileExistsError where something is at `out`."""
    if is_taken(out):
        raise FileExistsError(
            f"{out} already exists and is not an empty folder; choose another one for "
            "--out"
        )
