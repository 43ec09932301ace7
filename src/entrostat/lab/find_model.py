"""Where a model is: a folder first, a run's folder as its last checkpoint, and the hub
for what can only be there."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from entrostat.data import hub

SHARDS = "model_world_size_*_rank_*.pt"
"""What verl writes of a model under FSDP."""


class FoundModel(NamedTuple):
    where: str
    """A folder, or a hub name."""
    note: str = ""
    """What the user is to know of the choice, in a line."""


def find_model(model: str, option: str = "MODEL") -> FoundModel:
    """The model that the user means. ValueError, one line, where there is none.

    Only a name that is no folder is looked up on the hub, once. `option` is what the
    user calls it.
    """
    path = Path(model).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.exists():
            raise ValueError("it is a file: give the folder that it is in")
        _look_up(model)
    except ValueError as error:
        raise ValueError(f"{option} {model!r}: {error}") from None
    return FoundModel(model)


def is_path(model: str) -> bool:
    """Whether `model` can only be a folder: a hub name is NAME or OWNER/NAME."""
    return model.count("/") > 1 or model.startswith((".", "/", "~"))


def _look_up(model: str) -> None:
    """ValueError where neither the hub nor its cache has the model."""
    if is_path(model) or not model:
        raise ValueError("there is no such folder")
    is_cached = hub.is_cached(model)
    if "/" not in model and not is_cached:
        raise ValueError("there is no such folder, and a hub name is OWNER/NAME")
    # of a cached model too: without a hub the libraries are to look into the cache alone
    why_not = hub.ask(model, "model")
    if why_not and not is_cached:
        raise ValueError(
            f"there is no such folder, the hub's cache has no such model, and {why_not}"
        )


def _in_folder(folder: Path) -> FoundModel:
    """The model in it: its own, that of the lab's run, or the last checkpoint of
    TRL's."""
    _check_shards(folder)
    if _holds_model(folder):
        return FoundModel(str(folder))
    if _holds_model(folder / "checkpoint"):
        return _checkpoint(folder / "checkpoint")
    numbers = {}
    for pattern in ("checkpoint-*", "trainer/checkpoint-*"):
        for path in folder.glob(pattern):
            number = re.fullmatch(r"checkpoint-(\d+)", path.name)
            if number and _holds_model(path):
                numbers[int(number[1])] = path
    if numbers:
        return _checkpoint(numbers[max(numbers)])
    raise ValueError(
        "the folder holds no model: no config.json with a model_type, no checkpoint of "
        "a run"
    )


def _holds_model(folder: Path) -> bool:
    """Whether it is a model, or adapters of one. A run of the lab has a config.json
    too, of another kind."""
    if (folder / "adapter_config.json").is_file():
        return True
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config


def _checkpoint(folder: Path) -> FoundModel:
    return FoundModel(str(folder), f"the model is the run's checkpoint {folder}")


def _check_shards(folder: Path) -> None:
    """ValueError where verl's shards are in the folder, below it (global_step_N), or
    beside it (huggingface/, which has all but the weights)."""
    if any(folder.glob("*.safetensors*")):
        return
    for pattern in (SHARDS, f"actor/{SHARDS}", f"global_step_*/actor/{SHARDS}"):
        found = list(folder.glob(pattern))
        if found:
            # the last step's: global_step_9 is before global_step_10
            found.sort(key=lambda path: (len(str(path)), str(path)))
            raise ValueError(_merge(found[-1].parent))
    if folder.name == "huggingface" and any(folder.parent.glob(SHARDS)):
        raise ValueError(_merge(folder.parent))


def _merge(shards: Path) -> str:
    return (
        f"{shards} holds verl's shards, no whole model: merge them with "
        f"`python -m verl.model_merger merge --backend fsdp --local_dir {shards} "
        "--target_dir FOLDER` and evaluate FOLDER"
    )
