"""The settings of a verl configuration that the doctor reads, a YAML with overrides, over
verl's defaults.

verl need not be installed: the defaults of 0.9.1 are in verl-0.9.1.yaml. Where it is
installed, its own are read, as a file.
"""

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor.hydra import merged
from entrostat.doctor.names import unknown_notes
from entrostat.doctor.read import Source, is_interpolation, parsed_word, read_file
from entrostat.doctor.settings import (
    NOT_JUDGED,
    Kind,
    Settings,
    checked,
    plain,
    unresolved,
)
from entrostat.trainers import TESTED_VERL

DEFAULTS = Path(__file__).with_name(f"verl-{TESTED_VERL}.yaml")
MAINS = Path(__file__).with_name(f"verl-{TESTED_VERL}-mains.yaml")
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
LOSS, CORRECTION = f"{ACTOR}.policy_loss", "algorithm.rollout_correction"

TRAINER_MODE = "trainer.v1.trainer_mode"
SYNC_STEP = "trainer.v1.separate_async.parameter_sync_step"
STALENESS = "async_training.staleness_threshold"
TRIGGER = "async_training.trigger_parameter_sync_step"
REQUIRED = "async_training.require_batches"
BYPASS = f"{CORRECTION}.bypass_mode"
SYNC_MAIN = "verl.trainer.main_ppo"
FULLY_ASYNC = "verl.experimental.fully_async_policy.fully_async_main"
ONE_STEP_OFF = "verl.experimental.one_step_off_policy.main_ppo"

KINDS: Mapping[str, Kind] = {
    "data.train_batch_size": "count?",
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
    BYPASS: "flag",
    f"{CORRECTION}.loss_type": "word?",
    f"{CORRECTION}.rollout_is": "word?",
    f"{CORRECTION}.rollout_is_threshold": "band?",
    f"{CORRECTION}.rollout_is_batch_normalize": "flag",
    f"{CORRECTION}.rollout_rs": "word?",
    f"{CORRECTION}.rollout_rs_threshold": "band?",
    f"{ROLLOUT}.calculate_log_probs": "flag",
    f"{ACTOR}.use_rollout_log_probs": "flag?",
    SYNC_STEP: "count",
    STALENESS: "number?",
    TRIGGER: "count?",
    REQUIRED: "count?",
    "trainer.use_v1": "flag",
    TRAINER_MODE: "word",
    f"{ACTOR}.calculate_entropy": "flag",
    f"{LOSS}._target_": "word?",
}
"""The settings that the doctor reads."""
CORRECTIONS = frozenset(name for name in KINDS if name.startswith(f"{CORRECTION}.")) | {
    f"{ROLLOUT}.calculate_log_probs"
}
MULTIPLIERS = tuple(
    f"{ROLLOUT}.{name}" for name in ("n_agent", "n_trajectories", "n_samples")
)
"""Names in forks for responses of a prompt, beside rollout.n."""
FREE = frozenset({"defaults", "hydra", "model_engine"})
"""Names at the top that are Hydra's."""
INTERPOLATION = re.compile(
    r"\$\{(oc\.select:)?(?P<name>[\w.]+)(,(?P<default>[^${}]*))?\}"
)
OLD_OPTIONS = ("token", "sequence", "geometric")
"""What rollout_rs was before verl 0.8."""
OTHER_LIBRARY = r"(?!verl\.|recipe\.)[a-z]\w*\."
"""A module of another package than verl's."""
JUDGED = ("colocate_async", f"{TRAINER_MODE} separate_async")
"""Ends of what shows that rollouts are older where the number of updates is known."""
ASYNC = ("async_training", "rllm.async_training.enable")
"""Sections and switches that verl's asynchronous trainers, and rllm's, have."""
UNRESOLVED = object()
MAX_INTERPOLATIONS = 10
"""So many values that name another are followed: they may go in a circle."""


def sections() -> set[str]:
    """The names at the top of verl's configuration."""
    return set(read_file(DEFAULTS))


def verl_settings(source: Source) -> Settings:
    """The settings of `source` over verl's defaults. ValueError for a value of a wrong
    type."""
    known, version = _known()
    mains = read_file(MAINS)
    main = source.main if source.main in mains else ""
    foreign = not main and source.main not in ("", SYNC_MAIN)
    known = merged(known, mains.get(main, {}))
    unknown: dict[str, Iterable[str]] = {}
    for name in _unknown_settings(source, known):
        beside = _at(known, name.rpartition(".")[0]) if "." in name else known
        # nothing stands beside it where a key has dots of its own
        unknown[name] = beside if isinstance(beside, Mapping) else ()
    notes = [*source.notes, *unknown_notes("verl", version, unknown)]
    tree = merged(known, source.fields)
    given = source.fields
    for override in source.overrides:
        above = _nested(override.key, override.value)
        tree, given = merged(tree, above), merged(given, above)
    values, defaults = {}, {}
    unread, doubtful = set[str](), set[str]()
    for section in _values_of_sections(given, known):
        notes.append(
            f"{section} is a value, where verl {version} has a section: {NOT_JUDGED}"
        )
        unread |= {name for name in KINDS if name.startswith(f"{section}.")}
    for multiplier in MULTIPLIERS:
        if _at(given, multiplier) not in (None, 1):
            notes.append(
                f"{multiplier} is not verl's: if it makes more responses of a prompt, a "
                "rollout has more updates than by verl's own names, so whether every "
                "ratio is 1 was not judged"
            )
            doubtful |= {f"{ROLLOUT}.n", f"{ACTOR}.ppo_mini_batch_size"}
    for name, kind in KINDS.items():
        defaults[name] = _at(known, name)
        value = _resolved(tree, name)
        if name in unread:
            value = _resolved(known, name)
        if value is UNRESOLVED:
            notes.append(unresolved(name, _at(tree, name)))
            unread.add(name)
            value = _resolved(known, name)
        if name == "data.train_batch_size" and value in (0, "0"):
            value = None
        values[name] = checked(name, value, kind, source.name)
    stale = source.stale or _stale(tree)
    if stale:
        judged = main or (not foreign and stale.endswith(JUDGED))
        open_end = "" if judged else ": whether every ratio is 1 was not judged"
        notes.append(f"{stale} trains on rollouts of an older policy{open_end}")
    if re.match(OTHER_LIBRARY, source.main):
        # its trainer reads them in its own way
        unread |= CORRECTIONS
    elif foreign and stale:
        # its own configuration is not known, and sets these as it likes
        unread |= {name for name in CORRECTIONS if _at(given, name) is None}
    old = _at(tree, f"{CORRECTION}.rollout_rs")
    if old in OLD_OPTIONS:
        notes.append(
            f"rollout_rs {old} is an option of an older verl, which {version} refuses: "
            f"{NOT_JUDGED}"
        )
        unread |= {name for name in CORRECTIONS if "rollout_rs" in name}
    misplaced = tuple(_misplaced(source, known, tree))
    return Settings(
        "verl",
        version,
        values,
        defaults,
        notes=tuple(notes),
        stale=stale,
        main=main,
        named=frozenset(_names(given)),
        unknown=frozenset(unread | doubtful | (source.open - set(_names(given)))),
        misplaced=misplaced,
    )


def _stale(tree: Mapping[str, Any]) -> str:
    """What shows that rollouts are of an older policy; empty where nothing does."""
    mode = _at(tree, TRAINER_MODE)
    if isinstance(mode, str) and "async" in mode:
        return f"{TRAINER_MODE} {plain(mode)}"
    for name in ASYNC:
        switch = _at(tree, name)
        if switch is not None and switch is not False:
            return name
    # streamed: there is no batch of prompts
    if _at(tree, "data.train_batch_size") in (0, "0"):
        return "data.train_batch_size 0"
    return ""


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
            return merged(shipped, read_file(own)), version
    return shipped, TESTED_VERL


# Names


def _unknown_settings(source: Source, known: Mapping[str, Any]) -> Iterator[str]:
    """Each name that verl does not have."""
    trees = [source.fields]
    for override in source.overrides:
        # +KEY=VALUE is meant as new
        if not override.added:
            trees.append(_nested(override.key, override.value))
    for tree in trees:
        for name in _unknown_names(tree, known):
            if name not in FREE:
                yield name


def _values_of_sections(
    given: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Sections of verl's that a fork, or an older version, has as a value."""
    for key, below in known.items():
        if key not in given or not isinstance(below, Mapping):
            continue
        if isinstance(given[key], Mapping):
            yield from _values_of_sections(given[key], below, f"{prefix}{key}.")
        elif given[key] is not None:
            yield f"{prefix}{key}"


def _misplaced(
    source: Source, known: Mapping[str, Any], tree: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Added names that a section of verl's cannot have, each with the one that was
    meant: the same last word, one section further out."""
    for override in source.overrides:
        parent, _, last = override.key.rpartition(".")
        section = _at(known, parent) if override.added and parent else None
        # of a section with a class verl makes an object, which refuses other names
        if not isinstance(section, Mapping) or "_target_" not in section:
            continue
        # another class may have it, and what is entrostat's has a check of its own
        if (
            override.key in KINDS
            or _at(tree, f"{parent}._target_") != section["_target_"]
        ):
            continue
        outer = parent.rpartition(".")[0]
        beside = _at(known, outer)
        if last not in section and isinstance(beside, Mapping) and last in beside:
            yield override.key, f"{outer}.{last}"


def _names(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of a tree."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")


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


def _at(tree: Any, name: str) -> Any:
    """The value at a dotted name; None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _resolved(tree: Mapping[str, Any], name: str) -> Any:
    """The value, through interpolations ${a.b.c} and ${oc.select:a.b.c,DEFAULT};
    UNRESOLVED where one names what is not there, or does something else."""
    value = _at(tree, name)
    for _ in range(MAX_INTERPOLATIONS):
        if not is_interpolation(value):
            return value
        match = INTERPOLATION.fullmatch(value)
        if match is None:
            return UNRESOLVED
        found = _at(tree, match["name"])
        if found is None and match["default"] is None:
            return UNRESOLVED
        value = found if found is not None else parsed_word(match["default"])
    return UNRESOLVED
