"""The fields of a GRPOConfig that the doctor reads, over TRL's defaults.

GRPOConfig refuses a machine without a GPU, so none is made.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from entrostat.doctor.names import retired, unknown_notes
from entrostat.doctor.read import Source, is_interpolation
from entrostat.doctor.settings import Kind, Settings, checked, unresolved
from entrostat.doctor.trl_fields import fields
from entrostat.trainers import trl_steps_per_generation

KINDS: Mapping[str, Kind] = {
    "steps_per_generation": "count?",
    "generation_batch_size": "count?",
    "num_iterations": "count",
    "num_generations": "count",
    "gradient_accumulation_steps": "count",
    "per_device_train_batch_size": "count",
    "loss_type": "word",
    "epsilon": "number",
    "epsilon_high": "number?",
    "delta": "number?",
    "sapo_temperature_pos": "number",
    "sapo_temperature_neg": "number",
    "vespo_k_pos": "number",
    "vespo_k_neg": "number",
    "vespo_lambda_pos": "number",
    "vespo_lambda_neg": "number",
    "temperature": "number",
    "top_p": "number?",
    "top_k": "number?",
    "min_p": "number?",
    "repetition_penalty": "number?",
    "generation_kwargs": "options?",
    "use_vllm": "flag",
    "vllm_importance_sampling_correction": "flag",
    "vllm_importance_sampling_mode": "word",
    "vllm_importance_sampling_clip_max": "number?",
    "vllm_importance_sampling_clip_min": "number?",
    "vllm_importance_sampling_cap": "number?",
    "importance_sampling_level": "word",
    "disable_dropout": "flag",
    "entropy_coef": "number",
    "use_adaptive_entropy": "flag",
}
"""The fields that the doctor reads."""
SAMPLER_OFF: Mapping[str, tuple[Any, ...]] = {
    "top_p": (None, 1),
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "repetition_penalty": (None, 1),
}
"""Values under which the sampler draws from the whole distribution."""
FOREIGN = (
    "most names in it are not TRL's, so it is taken for a file of another program, and "
    "nothing was judged: give the script that makes the GRPOConfig"
)
SAMPLER = ("temperature", *SAMPLER_OFF)
"""What generation_kwargs can set over the field of the same name."""


def trl_settings(source: Source) -> Settings:
    """The fields of `source` over GRPOConfig's defaults. ValueError for a value of a
    wrong type."""
    trl = fields()
    given = dict(source.fields)
    for override in source.overrides:
        given[override.key] = override.value
    unsloth = source.unsloth or _unsloth(given, source.owner)
    notes = list(source.notes)
    # the class of an imported object may have fields of its own
    if source.owner is None:
        known = trl.names
        unknown = dict.fromkeys(_unknown_names(given, unsloth=bool(unsloth)), known)
        notes += unknown_notes("trl", trl.version, unknown)
    unknown_values = set(source.open)
    if _is_foreign(source.fields) and source.owner is None:
        notes.insert(0, FOREIGN)
        unknown_values |= KINDS.keys()
        given = {}
    for name in KINDS:
        if is_interpolation(given.get(name)):
            notes.append(unresolved(name, given.pop(name)))
            unknown_values.add(name)
    defaults = {name: x for name, x in trl.defaults.items() if name in KINDS}
    values = defaults | _values(source.name, given)
    return Settings(
        "trl",
        trl.version,
        values,
        defaults,
        unsloth,
        tuple(notes),
        named=frozenset(given),
        unknown=frozenset(unknown_values - given.keys()),
    )


def _is_foreign(given: Mapping[str, Any]) -> bool:
    """Whether most names of a file are neither TRL's nor were."""
    known = fields().names | fields().script | retired("trl").keys()
    others = [name for name in given if name not in known]
    return len(others) > len(given) - len(others)


def _unknown_names(given: Mapping[str, Any], *, unsloth: bool) -> Iterator[str]:
    """Fields that neither TRL nor, where it is in use, unsloth has."""
    known = fields().names | fields().script
    for name in given:
        if name not in known and not (unsloth and _is_unsloths(name)):
            yield name


def _values(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given, checked. Text becomes a number where one is wanted.

    In generation_kwargs only what the doctor reads is checked: it may hold anything that
    the sampler takes.
    """
    values: dict[str, Any] = {}
    for name, kind in KINDS.items():
        if name in given:
            value = given[name]
            if kind == "options?":
                value = _decoded(value)
            values[name] = checked(name, value, kind, where)
    options = dict(values.get("generation_kwargs") or {})
    for name in SAMPLER:
        if name in options:
            full_name = f"generation_kwargs.{name}"
            options[name] = checked(full_name, options[name], "number?", where)
    return values | {"generation_kwargs": options}


def _decoded(value: Any) -> Any:
    """generation_kwargs may be JSON text, as TRL's command line gives it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _is_unsloths(name: str) -> bool:
    # unsloth's GRPOConfig adds vllm_sampling_params and names with its own in front
    return "unsloth" in name.lower() or name == "vllm_sampling_params"


def _unsloth(given: Mapping[str, Any], owner: type | None) -> str:
    """What shows that unsloth is in use; empty where nothing does.

    `owner`: the class of an imported configuration.
    """
    if owner is not None:
        bases = [f"{base.__module__}.{base.__qualname__}" for base in owner.__mro__]
        if any("unsloth" in base.lower() for base in bases):
            return f"the configuration is unsloth's {owner.__qualname__}"
    if "unsloth" in sys.modules:
        return "unsloth is imported"
    for name, value in given.items():
        if _is_unsloths(name) and value not in (None, False):
            return f"{name} is unsloth's field"
    return ""


def micro_batches(settings: Settings, processes: int) -> int:
    """Micro-batches per rollout on each process."""
    return trl_steps_per_generation(
        steps_per_generation=settings["steps_per_generation"],
        generation_batch_size=settings["generation_batch_size"],
        gradient_accumulation_steps=settings["gradient_accumulation_steps"],
        per_device_train_batch_size=settings["per_device_train_batch_size"],
        processes=processes,
    )
