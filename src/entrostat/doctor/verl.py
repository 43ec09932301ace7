"""The settings of a verl configuration that the doctor reads, a YAML with overrides, over
verl's defaults.

verl need not be installed: the defaults of 0.9.1 are in verl-0.9.1.yaml. Where it is
installed, its own are read, as a file.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor.read import Source, read_file
from entrostat.doctor.settings import (
    Kind,
    Settings,
    checked,
    first_few,
    near_name,
    short,
)
from entrostat.trainers import TESTED_VERL

DEFAULTS = Path(__file__).with_name(f"verl-{TESTED_VERL}.yaml")
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
LOSS, CORRECTION = f"{ACTOR}.policy_loss", "algorithm.rollout_correction"

KINDS: Mapping[str, Kind] = {
    "data.train_batch_size": "count",
    f"{ACTOR}.ppo_mini_batch_size": "count",
    f"{ACTOR}.ppo_epochs": "count",
    f"{ACTOR}.clip_ratio": "number",
    f"{ACTOR}.clip_ratio_low": "number?",
    f"{ACTOR}.clip_ratio_high": "number?",
    f"{ACTOR}.clip_ratio_c": "number",
    f"{ACTOR}.tau_pos": "number",
    f"{ACTOR}.tau_neg": "number",
    f"{ACTOR}.loss_agg_mode": "word",
    f"{ACTOR}.entropy_coeff": "number",
    f"{LOSS}.loss_mode": "word",
    f"{LOSS}.strategy": "word?",
    f"{LOSS}.options": "options?",
    f"{LOSS}.clip_cov_ratio": "number?",
    f"{LOSS}.clip_cov_lb": "number?",
    f"{LOSS}.clip_cov_ub": "number?",
    f"{LOSS}.kl_cov_ratio": "number?",
    f"{LOSS}.ppo_kl_coef": "number?",
    f"{LOSS}.dro_beta": "number?",
    f"{ROLLOUT}.n": "count",
    f"{ROLLOUT}.temperature": "number",
    f"{ROLLOUT}.top_p": "number",
    f"{ROLLOUT}.top_k": "number",
    f"{CORRECTION}.bypass_mode": "flag",
}
"""The settings that the doctor reads."""
FREE = frozenset({"defaults", "hydra", "model_engine"})
"""Names at the top that are Hydra's."""
MAX_INTERPOLATIONS = 10
"""So many values that name another are followed: they may go in a circle."""


def sections() -> set[str]:
    """The names at the top of verl's configuration."""
    return set(read_file(DEFAULTS))


def verl_settings(source: Source, *, ignore_unknown: bool = False) -> Settings:
    """The settings of `source` over verl's defaults.

    Args:
        ignore_unknown: pass over settings that verl does not have.

    Raises:
        ValueError: an unknown setting, or a value of a wrong type.
    """
    known, version = _known()
    unknown = [] if ignore_unknown else list(_unknown_settings(source, known))
    # a script may be one of a fork, with settings of its own
    if unknown and source.trainer is None:
        raise ValueError(
            f"{source.name}: {unknown[0]}; "
            "--ignore-unknown passes over settings of a recipe of your own"
        )
    tree = _merged(known, source.fields)
    for override in source.overrides:
        tree = _merged(tree, _nested(override.key, override.value))
    values, defaults = {}, {}
    for name, kind in KINDS.items():
        values[name] = checked(name, _resolved(tree, name), kind, source.name)
        defaults[name] = _at(known, name)
    notes = (*source.notes, *first_few(unknown))
    return Settings("verl", version, values, defaults, notes=notes)


def _known() -> tuple[dict[str, Any], str]:
    """The tree of known names with their defaults, and verl's version: those of the
    installed verl where there is one, without importing it."""
    shipped = dict(read_file(DEFAULTS))
    spec = importlib.util.find_spec("verl")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        own = Path(folder) / "trainer" / "config" / "_generated_ppo_trainer.yaml"
        number = Path(folder) / "version" / "version"
        if own.is_file() and number.is_file():
            version = number.read_text(encoding="utf-8").strip()[:20]
            return _merged(shipped, read_file(own)), version
    return shipped, TESTED_VERL


# Names


def _unknown_settings(source: Source, known: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each name that verl does not have."""
    trees = [source.fields]
    for override in source.overrides:
        # +KEY=VALUE is meant as new
        if not override.added:
            trees.append(_nested(override.key, override.value))
    for tree in trees:
        for name in _unknown_names(tree, known):
            if name not in FREE:
                yield _no_setting(name, known)


def _no_setting(name: str, known: Mapping[str, Any]) -> str:
    """What is said of an unknown name, with those near it in the same section."""
    parent, _, last = name.rpartition(".")
    beside = _at(known, parent) if parent else known
    # nothing stands beside it where a key has dots of its own
    names = beside if isinstance(beside, Mapping) else ()
    return f"verl has no setting {short(name)}: {near_name(last, names)}"


def _unknown_names(
    fields: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Dotted names in `fields` that `known` lacks."""
    # a class of one's own may have fields of its own
    both_name_a_class = "_target_" in fields and "_target_" in known
    own_class = both_name_a_class and fields["_target_"] != known["_target_"]
    for key, value in fields.items():
        if key not in known:
            if not own_class:
                yield f"{prefix}{key}"
            continue
        below = known[key]
        # an empty section of verl's is one whose names are not checked
        if isinstance(value, Mapping) and isinstance(below, Mapping) and below:
            yield from _unknown_names(value, below, f"{prefix}{key}.")


# Trees


def _nested(key: str, value: Any) -> dict[str, Any]:
    """The tree that holds one value, at a dotted name."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees; where both have a value, that of `above`."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = _merged(under, value)
        merged[key] = value
    return merged


def _at(tree: Any, name: str) -> Any:
    """The value at a dotted name; None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _resolved(tree: Mapping[str, Any], name: str) -> Any:
    """The value, through plain interpolations ${a.b.c}; others stay text."""
    value = _at(tree, name)
    for _ in range(MAX_INTERPOLATIONS):
        if not _is_plain_interpolation(value):
            break
        value = _at(tree, value[2:-1])
    return value


def _is_plain_interpolation(value: Any) -> bool:
    # one with a colon calls a function, as ${oc.select:a.b,1} does
    if not isinstance(value, str) or ":" in value:
        return False
    return value.startswith("${") and value.endswith("}")
