"""Which settings of a verl configuration are ours, and whether all that they need is
there. It imports nothing of verl's: a plug-in that nobody uses must cost nothing.

verl trains on its own vanilla loss, without a word, where one of these is left out.
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from entrostat.trainers import VERL_NEEDED, VERL_TRAINERS, verl_trainer_mode
from entrostat.trainers import VERL_PLUGIN as NAME
from entrostat.trainers import VERL_POLICY_LOSS as LOSS

LOSS_MODE, TARGET_KEY, TRAINER_MODE = VERL_NEEDED
TARGET = VERL_NEEDED[TARGET_KEY]
OWN_FIELDS = (
    "strategy",
    "options",
    "importance_sampling_level",
    "dump_every",
    "dump_dir",
)
"""What our policy_loss has beside verl's."""
_MODES = ("loss_mode", "policy_loss_mode", "trainer_mode")
"""verl's settings that can have our name for a value, wherever they stand."""


def named(config: DictConfig) -> list[str]:
    """The paths at which somebody asks for entrostat, the wrong places too."""
    plain = OmegaConf.to_container(config, resolve=False)
    found = [path for path, value in _nodes(plain) if _is_ours(path, value)]
    if _target(config).startswith(("verl.", "entrostat.")):
        return found
    # somebody's own class may have fields of the same names
    return [path for path in found if not _is_own_field(path)]


def check_whole(config: DictConfig) -> None:
    """Raises ValueError, in one line, where a setting stands at a wrong place, or one is
    missing without which verl would train as if there were no entrostat."""
    found = named(config)
    for path in found:
        _check_place(path)
    missing = []
    for path, value, got in _missing(config):
        missing.append(f"{path}={value} (it is {got})")
    if missing:
        raise ValueError(
            f"{found[0]} asks for it, so set this too: {', '.join(missing)}; without it "
            "verl would train and no strategy would act"
        )


def _check_place(path: str) -> None:
    """Raises ValueError for a setting that nothing reads where it stands."""
    if path in (LOSS_MODE, TARGET_KEY, TRAINER_MODE) or _is_own_field(path):
        return
    key = path.rpartition(".")[2]
    places = {"trainer_mode": TRAINER_MODE, "policy_loss_mode": LOSS_MODE}
    place = places.get(key, f"{LOSS}.{key}")
    raise ValueError(f"{path} is read by nobody: set {place} in its place")


def _missing(config: DictConfig) -> Iterator[tuple[str, str, str]]:
    """Each setting that does not have the value that we need: path, that value, and what
    it is now."""
    loss_mode = OmegaConf.select(config, LOSS_MODE)
    if loss_mode != NAME:
        yield LOSS_MODE, NAME, str(loss_mode)
    target = _target(config)
    # a class of somebody's own is a child of ours, or is refused when it is made
    if target.startswith(("verl.", "entrostat.")) and target != TARGET:
        yield TARGET_KEY, TARGET, target
    if not OmegaConf.select(config, f"{LOSS}.strategy"):
        # verl's configuration has no such key, so Hydra wants the +
        yield f"+{LOSS}.strategy", "NAME", "not set"
    mode = OmegaConf.select(config, TRAINER_MODE)
    if mode not in VERL_TRAINERS and not other_trainer(config):
        yield TRAINER_MODE, verl_trainer_mode(mode), str(mode)


def other_trainer(config: DictConfig) -> str:
    """The trainer that a configuration runs on where that reads no trainer_mode; empty
    for the one of verl.trainer.main_ppo."""
    if not OmegaConf.select(config, "trainer.use_v1", default=True):
        return "the v0 trainer"
    # a section that main_ppo has not
    return "one_step_off_policy" if "rollout" in config else ""


def _target(config: DictConfig) -> str:
    """The class of the policy loss's options; verl's own where none is given."""
    return str(OmegaConf.select(config, TARGET_KEY) or "verl.")


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a nested dict with its value, by dotted path."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        yield below, value
        yield from _nodes(value, below)


def _is_ours(path: str, value: Any) -> bool:
    """Whether nobody but a user of ours writes this."""
    section, _, key = path.rpartition(".")
    if key in _MODES:
        return value == NAME or value in VERL_TRAINERS
    if key == "_target_":
        return str(value).startswith("entrostat.")
    return section.endswith("policy_loss") and key in OWN_FIELDS


def _is_own_field(path: str) -> bool:
    section, _, key = path.rpartition(".")
    return section == LOSS and key in OWN_FIELDS
