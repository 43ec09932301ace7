"""Hydra's `defaults` list: the files beside a configuration that stand under it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor.read import read_file
from entrostat.doctor.settings import listed
from entrostat.doctor.tree import merged

VERL_BASES = ("ppo_trainer", "ppo_megatron_trainer")
"""verl's own configurations, whose values are the defaults anyway."""
VERL_OWN = (
    *VERL_BASES,
    "fully_async_ppo_trainer",
    "fully_async_ppo_megatron_trainer",
    "one_step_off_ppo_trainer",
    "one_step_off_ppo_megatron_trainer",
)
"""And those of its asynchronous mains, which are in verl-VERSION-mains.yaml."""
MAX_FILES = 20
"""Files that one configuration stands on at most."""


def composed(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The fields of a file over those of the files beside it that its `defaults` name,
    and what was not followed. ValueError or OSError where one cannot be read."""
    todo, missing = [path], []
    layers: list[Mapping[str, Any]] = []
    while todo:
        file = todo.pop()
        if len(layers) >= MAX_FILES:
            raise ValueError(f"{path}: its defaults go in a circle")
        fields = read_file(file)
        layers.append({key: fields[key] for key in fields if key != "defaults"})
        for name in _defaults(fields):
            beside = file.parent / f"{name}.yaml"
            if re.fullmatch(r"[\w-]+", name) and beside.is_file():
                todo.append(beside)
            else:
                missing.append(name)
    notes = []
    if missing:
        notes.append(
            f"its defaults name {listed(missing)}, which was not read: what is set there "
            "is not known, and the trainer's own defaults stand in its place"
        )
    whole: Mapping[str, Any] = {}
    for layer in reversed(layers):
        whole = merged(whole, layer)
    return whole, notes


def _defaults(fields: Mapping[str, Any]) -> list[str]:
    """The files that a configuration stands on. A group that is put into a section,
    `actor@actor_rollout_ref.actor: dp_actor`, is the trainer's own."""
    names = []
    listed_names = fields.get("defaults")
    for each in listed_names if isinstance(listed_names, list) else []:
        if isinstance(each, Mapping):
            each = "/".join(f"{key}/{value}" for key, value in each.items())
        name = str(each)
        if name != "_self_" and name not in VERL_BASES and "@" not in name:
            names.append(name)
    return names
