"""The fields of a GRPOConfig with TRL's defaults, without importing TRL, which takes
seconds and wants torch.

TRL need not be installed: those of the tested release are in trl-VERSION.yaml. Where
another release is installed, its own are read.
"""

import dataclasses
import functools
import importlib.metadata
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.doctor.read import read_file
from entrostat.trainers import TESTED_TRL

SHIPPED = Path(__file__).with_name(f"trl-{TESTED_TRL}.yaml")


class Fields(NamedTuple):
    """What a configuration of one release of TRL may hold."""

    version: str
    defaults: dict[str, Any]
    """Of every field of GRPOConfig; None where the default is made by a factory."""
    script: frozenset[str]
    """What else `trl grpo --config` reads from the same file."""

    @property
    def names(self) -> set[str]:
        return set(self.defaults)


@functools.cache
def fields() -> Fields:
    """Those of the installed TRL, or of the tested one where none is installed."""
    installed = _installed()
    if installed in (None, TESTED_TRL):
        return shipped()
    return imported()


def _installed() -> str | None:
    try:
        return importlib.metadata.version("trl")
    except importlib.metadata.PackageNotFoundError:
        return None


def shipped() -> Fields:
    """Those of the tested TRL, from the file."""
    content = read_file(SHIPPED)
    return Fields(TESTED_TRL, content["defaults"], frozenset(content["script"]))


def imported() -> Fields:
    """Those of the installed TRL, by importing it."""
    import trl
    from trl.scripts.grpo import GRPOScriptArguments
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.model_config import ModelConfig

    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(GRPOConfig):
        made = field.default is dataclasses.MISSING
        defaults[field.name] = None if made else field.default
    script = {"config", "env", "datasets"}
    for kind in (GRPOScriptArguments, ModelConfig):
        script.update(field.name for field in dataclasses.fields(kind))
    return Fields(trl.__version__, defaults, frozenset(script))
