"""The controller's state in the checkpoints of TRL's trainers."""

import os
from pathlib import Path
from typing import Any

from entrostat.engines.controller import Controller
from entrostat.engines.trl_surface import PREFIX_CHECKPOINT_DIR
from entrostat.statefile import read_state, write_state

STATE_FILE = "entrostat_state.json"


def checkpoint_folder(trainer: Any, trial: Any) -> Path:
    """The folder of the checkpoint that TRL is about to write; it is made here.

    We write into it before TRL does. TRL writes trainer_state.json last, so whoever finds
    that file finds ours too.
    """
    output = Path(trainer._get_output_dir(trial=trial))
    folder = output / f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
    os.makedirs(folder, exist_ok=True)
    return folder


def save_controller(
    trainer: Any, trial: Any, controller: Controller, **more: Any
) -> None:
    """Writes the controller's state, and what else the engine has to remember, as JSON,
    into the checkpoint at hand. Only the process that saves writes."""
    if trainer.args.should_save:
        path = checkpoint_folder(trainer, trial) / STATE_FILE
        write_state(path, {**controller.payload(), **more})


def load_controller(
    checkpoint: str, controller: Controller, trainer: str
) -> dict[str, Any]:
    """Takes the controller's state from a checkpoint; all that `save_controller` wrote.

    Raises ValueError where there is none, or that of another strategy.

    Args:
        trainer: the class whose checkpoints have one.
    """
    path = Path(checkpoint) / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{path} is missing, so the controller's state is unknown: resume from "
            f"a checkpoint of an {trainer}, or start from the model alone"
        )
    payload = read_state(path)
    controller.load(payload, str(path))
    return payload
