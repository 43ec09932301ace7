"""The settings of a verl configuration that the doctor reads, a YAML with overrides, over
verl's defaults.

verl need not be installed: the defaults of 0.9.1 are in verl-0.9.1.yaml. Where it is
installed, its own are read, as a file.
"""

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.doctor.names import unknown_notes
from entrostat.doctor.read import Source, read_file
from entrostat.doctor.settings import (
    NOT_JUDGED,
    Kind,
    Settings,
    checked,
    plain,
    unresolved,
)
from entrostat.doctor.tree import (
    UNRESOLVED,
    dotted_names,
    merged,
    nested,
    resolved_at,
    sections_as_values,
    unknown_names,
    value_at,
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
OLD_OPTIONS = ("token", "sequence", "geometric")
"""What rollout_rs was before verl 0.8."""
OTHER_LIBRARY = r"(?!verl\.|recipe\.)[a-z]\w*\."
"""A module of another package than verl's."""
JUDGED = ("colocate_async", f"{TRAINER_MODE} separate_async")
"""Ends of what shows that rollouts are older where the number of updates is known."""
ASYNC = ("async_training", "rllm.async_training.enable")
"""Sections and switches that verl's asynchronous trainers, and rllm's, have."""


class Run(NamedTuple):
    """A configuration over verl's defaults."""

    source: Source
    version: str
    """verl's."""
    main: str
    """The asynchronous main of verl's whose own values stand over the defaults."""
    known: Mapping[str, Any]
    """verl's names with their defaults."""
    given: Mapping[str, Any]
    """What the file and its overrides set."""
    tree: Mapping[str, Any]
    """What was given, over what is known."""
    stale: str
    """What shows that rollouts are of an older policy; empty where nothing does."""

    @property
    def foreign(self) -> bool:
        """Whether it is started by a main that is not verl's."""
        return not self.main and self.source.main not in ("", SYNC_MAIN)


class Doubt(NamedTuple):
    """Settings that are not judged, or a note on what is."""

    note: str = ""
    names: frozenset[str] = frozenset()
    replaced: bool = False
    """Whether verl's default stands in place of what was given."""


def sections() -> set[str]:
    """The names at the top of verl's configuration."""
    return set(read_file(DEFAULTS))


def verl_settings(source: Source) -> Settings:
    """The settings of `source` over verl's defaults. ValueError for a value of a wrong
    type."""
    run = _run(source)
    doubts = [doubt for rule in RULES for doubt in rule(run)]
    replaced = set[str]().union(*(doubt.names for doubt in doubts if doubt.replaced))
    values, defaults = {}, {}
    for name, kind in KINDS.items():
        defaults[name] = value_at(run.known, name)
        value = resolved_at(run.known if name in replaced else run.tree, name)
        if name == "data.train_batch_size" and value in (0, "0"):
            # streamed: there is no batch
            value = None
        values[name] = checked(name, value, kind, source.name)
    named = frozenset(dotted_names(run.given))
    unknown = _unknown_settings(source, run.known)
    notes = [*source.notes, *unknown_notes("verl", run.version, unknown)]
    notes += [doubt.note for doubt in doubts if doubt.note]
    not_judged = frozenset[str]().union(*(doubt.names for doubt in doubts))
    return Settings(
        "verl",
        run.version,
        values,
        defaults,
        notes=tuple(notes),
        stale=run.stale,
        main=run.main,
        named=named,
        unknown=not_judged | (source.open - named),
        misplaced=tuple(_misplaced(run)),
    )


def _run(source: Source) -> Run:
    shipped, version = _known()
    mains = read_file(MAINS)
    main = source.main if source.main in mains else ""
    known = merged(shipped, mains.get(main, {}))
    given = source.fields
    for override in source.overrides:
        given = merged(given, nested(override.key, override.value))
    tree = merged(known, given)
    stale = source.stale or _stale(tree)
    return Run(source, version, main, known, given, tree, stale)


# What is not judged


def _of_sections_as_values(run: Run) -> Iterator[Doubt]:
    """A fork, or an older version, may have a value where verl has a section."""
    for section in sections_as_values(run.given, run.known):
        note = f"{section} is a value, where verl {run.version} has a section: "
        below = frozenset(name for name in KINDS if name.startswith(f"{section}."))
        yield Doubt(note + NOT_JUDGED, below, replaced=True)


def _of_multipliers(run: Run) -> Iterator[Doubt]:
    for multiplier in MULTIPLIERS:
        if value_at(run.given, multiplier) not in (None, 1):
            note = (
                f"{multiplier} is not verl's: if it makes more responses of a prompt, a "
                "rollout has more updates than by verl's own names, so whether every "
                "ratio is 1 was not judged"
            )
            yield Doubt(
                note, frozenset({f"{ROLLOUT}.n", f"{ACTOR}.ppo_mini_batch_size"})
            )


def _of_interpolations(run: Run) -> Iterator[Doubt]:
    for name in KINDS:
        if resolved_at(run.tree, name) is UNRESOLVED:
            note = unresolved(name, value_at(run.tree, name))
            yield Doubt(note, frozenset({name}), replaced=True)


def _of_older_rollouts(run: Run) -> Iterator[Doubt]:
    if run.stale:
        judged = run.main or (not run.foreign and run.stale.endswith(JUDGED))
        open_end = "" if judged else ": whether every ratio is 1 was not judged"
        yield Doubt(f"{run.stale} trains on rollouts of an older policy{open_end}")


def _of_corrections(run: Run) -> Iterator[Doubt]:
    """The corrections of a mismatch, under a main that is not verl's."""
    if re.match(OTHER_LIBRARY, run.source.main):
        # its trainer reads them in its own way
        yield Doubt(names=CORRECTIONS)
    elif run.foreign and run.stale:
        # its own configuration is not known, and sets these as it likes
        unset = {name for name in CORRECTIONS if value_at(run.given, name) is None}
        yield Doubt(names=frozenset(unset))


def _of_old_options(run: Run) -> Iterator[Doubt]:
    old = value_at(run.tree, f"{CORRECTION}.rollout_rs")
    if old in OLD_OPTIONS:
        note = (
            f"rollout_rs {old} is an option of an older verl, which {run.version} "
            f"refuses: {NOT_JUDGED}"
        )
        rejection = {name for name in CORRECTIONS if "rollout_rs" in name}
        yield Doubt(note, frozenset(rejection))


RULES: tuple[Callable[[Run], Iterator[Doubt]], ...] = (
    _of_sections_as_values,
    _of_multipliers,
    _of_interpolations,
    _of_older_rollouts,
    _of_corrections,
    _of_old_options,
)
"""In the order of their notes."""


def _stale(tree: Mapping[str, Any]) -> str:
    """What shows that rollouts are of an older policy; empty where nothing does."""
    mode = value_at(tree, TRAINER_MODE)
    if isinstance(mode, str) and "async" in mode:
        return f"{TRAINER_MODE} {plain(mode)}"
    for name in ASYNC:
        switch = value_at(tree, name)
        if switch is not None and switch is not False:
            return name
    # streamed: there is no batch of prompts
    if value_at(tree, "data.train_batch_size") in (0, "0"):
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


def _unknown_settings(
    source: Source, known: Mapping[str, Any]
) -> dict[str, Iterable[str]]:
    """Each name that verl does not have, with those that stand beside it."""
    trees = [source.fields]
    for override in source.overrides:
        # +KEY=VALUE is meant as new
        if not override.added:
            trees.append(nested(override.key, override.value))
    unknown: dict[str, Iterable[str]] = {}
    for tree in trees:
        for name in unknown_names(tree, known):
            if name in FREE:
                continue
            beside = value_at(known, name.rpartition(".")[0]) if "." in name else known
            # nothing stands beside it where a key has dots of its own
            unknown[name] = beside if isinstance(beside, Mapping) else ()
    return unknown


def _misplaced(run: Run) -> Iterator[tuple[str, str]]:
    """Added names that a section of verl's cannot have, each with the one that was
    meant: the same last word, one section further out."""
    for override in run.source.overrides:
        parent, _, last = override.key.rpartition(".")
        section = value_at(run.known, parent) if override.added and parent else None
        # of a section with a class verl makes an object, which refuses other names
        if not isinstance(section, Mapping) or "_target_" not in section:
            continue
        # another class may have it, and what is entrostat's has a check of its own
        if (
            override.key in KINDS
            or value_at(run.tree, f"{parent}._target_") != section["_target_"]
        ):
            continue
        outer = parent.rpartition(".")[0]
        beside = value_at(run.known, outer)
        if last not in section and isinstance(beside, Mapping) and last in beside:
            yield override.key, f"{outer}.{last}"
