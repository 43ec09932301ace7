"""A GRPOConfig, read field by field and never instantiated, and what in it does nothing. By TRL 1.16's source.

GRPOConfig refuses a machine without a GPU, so the defaults are those of its dataclass fields.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.read import Source
from entrostat.doctor.settings import Kind, Settings, checked, near_name, short, shown
from entrostat.strategies import Strategy, strategy_name
from entrostat.texts import near

KINDS: Mapping[str, Kind] = {
    "steps_per_generation": "count?",
    "generation_batch_size": "count?",
    "num_iterations": "count",
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
    "entropy_coef": "number",
    "use_adaptive_entropy": "flag",
}
"""The fields that the doctor reads."""

WINDOW = ("epsilon", "epsilon_high", "delta")
READS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("grpo", "bnpo", "dr_grpo", "dapo", "luspo"), WINDOW),
    "cispo": ("epsilon_high",),
    "sapo": ("sapo_temperature_pos", "sapo_temperature_neg"),
    "vespo": ("vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"),
}
"""The thresholds that each loss type reads."""
THRESHOLDS = tuple(dict.fromkeys(name for names in READS.values() for name in names))
OFF: Mapping[str, tuple[float | None, ...]] = {
    "top_p": (None, 1),
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "repetition_penalty": (None, 1),
}
"""Values under which the sampler draws from the whole distribution."""


def field_names() -> set[str]:
    """GRPOConfig's fields in the installed TRL. ImportError without one."""
    from trl.trainer.grpo_config import GRPOConfig

    return {field.name for field in dataclasses.fields(GRPOConfig)}


@functools.cache
def script_names() -> frozenset[str]:
    """What else `trl grpo --config` reads from the same file."""
    from trl.scripts.grpo import GRPOScriptArguments
    from trl.trainer.model_config import ModelConfig

    names = {
        field.name
        for kind in (GRPOScriptArguments, ModelConfig)
        for field in dataclasses.fields(kind)
    }
    return frozenset(names | {"config", "env", "datasets"})


def trl_settings(source: Source, *, ignore_unknown: bool = False) -> Settings:
    """The fields of `source` over GRPOConfig's defaults. ValueError for an unknown field or a value of a wrong type."""
    import trl
    from trl.trainer.grpo_config import GRPOConfig

    defaults: dict[str, Any] = {
        f.name: f.default for f in dataclasses.fields(GRPOConfig) if f.name in KINDS
    }
    given = {**source.fields, **{key: value for key, value, _ in source.overrides}}
    unsloth = _unsloth(given, source.owner)
    known = field_names()
    for name in given:
        if name in known or name in script_names() or (unsloth and _unsloths(name)):
            continue
        if not ignore_unknown and source.owner is None:
            raise ValueError(
                f"{source.name}: GRPOConfig has no field {short(name)}: {near_name(name, known)}; "
                "--ignore-unknown passes over fields of a script of your own"
            )
    values = dict(defaults)
    for name, kind in KINDS.items():
        if name in given:
            value = _decoded(given[name]) if kind == "options?" else given[name]
            values[name] = _checked(source.name, name, value, kind)
    over = values["generation_kwargs"] or {}
    for name in {"temperature", *OFF} & set(over):
        over[name] = _checked(
            source.name, f"generation_kwargs.{name}", over[name], "number?"
        )
    loss_type = str(values["loss_type"])
    if loss_type not in READS:
        raise ValueError(
            f"{source.name}: unknown loss_type {short(loss_type)}: {near(loss_type[:60], READS)}"
        )
    return Settings("trl", trl.__version__, values, defaults, unsloth)


def _checked(where: str, name: str, value: Any, kind: Kind) -> Any:
    try:
        return checked(name, value, kind)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _decoded(value: Any) -> Any:
    """generation_kwargs may be JSON text, as TRL's command line gives it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _unsloths(name: str) -> bool:
    # unsloth's GRPOConfig adds vllm_sampling_params and names with its own in front
    return "unsloth" in name.lower() or name == "vllm_sampling_params"


def _unsloth(given: Mapping[str, Any], owner: type | None) -> str:
    if owner is not None and any(
        "unsloth" in f"{c.__module__}.{c.__qualname__}".lower() for c in owner.__mro__
    ):
        return f"the configuration is unsloth's {owner.__qualname__}"
    if "unsloth" in sys.modules:
        return "unsloth is imported"
    names = [
        name for name in given if _unsloths(name) and given[name] not in (None, False)
    ]
    return f"{names[0]} is unsloth's field" if names else ""


# Checks


def trl_findings(
    s: Settings, strategy: Strategy | None = None, *, processes: int = 1
) -> list[Found]:
    """What is found in a GRPOConfig, under TRL's own thresholds or those of an entrostat strategy."""
    checks: list[Callable[[], Found | None]] = [
        lambda: _ratio(s, strategy, processes),
        lambda: _dual_clip(s, strategy),
        lambda: _ignored(s, strategy),
        lambda: _cap(s),
        lambda: _temperature(s),
        lambda: _sampling(s),
        lambda: _vllm(s),
        lambda: _bonus(s, strategy),
        lambda: Found(Finding.UNSLOTH, s.unsloth, {}) if s.unsloth else None,
    ]
    return [found for check in checks if (found := check()) is not None]


def steps_per_generation(s: Settings, processes: int) -> int:
    """As GRPOConfig derives it: itself, or from generation_batch_size, or gradient_accumulation_steps."""
    if s["steps_per_generation"] is not None:
        return s["steps_per_generation"]
    if s["generation_batch_size"] is not None:
        return max(
            1,
            s["generation_batch_size"]
            // (s["per_device_train_batch_size"] * processes),
        )
    return s["gradient_accumulation_steps"]


def _ratio(s: Settings, strategy: Strategy | None, processes: int) -> Found | None:
    steps, accumulated = (
        steps_per_generation(s, processes),
        s["gradient_accumulation_steps"],
    )
    # TRL's own test of whether generation falls on the end of an optimizer step
    if accumulated % (steps * s["num_iterations"]) != 0 or (
        strategy is not None and strategy.acts_on_fresh
    ):
        return None
    values = {
        "steps_per_generation": steps,
        "num_iterations": s["num_iterations"],
        "gradient_accumulation_steps": accumulated,
    }
    return Found(
        Finding.RATIO_ALWAYS_ONE, f"one update a rollout ({shown(values)})", values
    )


def _high(s: Settings, strategy: Strategy | None) -> tuple[str, float]:
    """The largest upper half-width, and who says so."""
    if strategy is not None:
        return f"highest of {strategy_name(strategy)}", strategy.highest
    if s["epsilon_high"] is not None:
        return "epsilon_high", s["epsilon_high"]
    return "epsilon", s["epsilon"]


def _dual_clip(s: Settings, strategy: Strategy | None) -> Found | None:
    name, high = _high(s, strategy)
    if (
        s["delta"] is None
        or "delta" not in READS[s["loss_type"]]
        or s["delta"] > 1 + high
    ):
        return None
    said = f"delta {s['delta']:g} caps the ratio where the window goes up to 1 + {high:g} ({name})"
    return Found(Finding.DUAL_CLIP, said, {"delta": s["delta"], name: high})


def _ignored(s: Settings, strategy: Strategy | None) -> Found | None:
    reads = set(READS[s["loss_type"]])
    if s["loss_type"] == "cispo" and s["epsilon_high"] is None:
        reads.add("epsilon")
    if strategy is not None:
        reads -= {"epsilon", "epsilon_high"}
    unread = {
        name: s[name] for name in THRESHOLDS if name not in reads and s.changed(name)
    }
    if not unread:
        return None
    under = (
        f" under the strategy {strategy_name(strategy)}" if strategy is not None else ""
    )
    said = f"loss_type {s['loss_type']}{under} does not read {shown(unread)}"
    return Found(
        Finding.THRESHOLD_IGNORED, said, {"loss_type": s["loss_type"], **unread}
    )


def _cap(s: Settings) -> Found | None:
    name, cap = _high(s, None)
    if s["loss_type"] != "cispo" or cap >= 1:
        return None
    said = f"loss_type cispo caps the ratio itself at {name} {cap:g}"
    return Found(Finding.CAP_UNDER_ONE, said, {"loss_type": "cispo", name: cap})


def _sampler(s: Settings) -> dict[str, Any]:
    """What the sampler is told: generation_kwargs goes over the fields."""
    names = ("temperature", *OFF)
    over = s["generation_kwargs"] or {}
    return {name: over.get(name, s[name]) for name in names}


def _temperature(s: Settings) -> Found | None:
    scored, drawn = s["temperature"], _sampler(s)["temperature"]
    if drawn is not None and drawn != scored:
        said = f"sampled at {drawn:g} (generation_kwargs), entropy and log-probabilities are taken at {scored:g}"
        return Found(
            Finding.TEMPERATURE,
            said,
            {"temperature": scored, "generation_kwargs.temperature": drawn},
        )
    if scored != 1:
        said = f"at {scored:g} the logged entropy is the tempered sampler's, not the model's"
        return Found(Finding.TEMPERATURE, said, {"temperature": scored})
    return None


def _sampling(s: Settings) -> Found | None:
    sampler = _sampler(s)
    cuts = {
        name: sampler[name] for name, off in OFF.items() if sampler[name] not in off
    }
    return (
        Found(Finding.SAMPLING_CUT, f"the sampler has {shown(cuts)}", cuts)
        if cuts
        else None
    )


def _vllm(s: Settings) -> Found | None:
    if not s["use_vllm"] or s["vllm_importance_sampling_correction"]:
        return None
    values = {"use_vllm": True, "vllm_importance_sampling_correction": False}
    return Found(Finding.VLLM_CORRECTION_OFF, shown(values), values)


def _bonus(s: Settings, strategy: Strategy | None) -> Found | None:
    values = {
        name: s[name] for name in ("entropy_coef", "use_adaptive_entropy") if s[name]
    }
    if strategy is not None and strategy.controls_entropy and values:
        name = strategy_name(strategy)
        return Found(
            Finding.BONUS_AND_CONTROLLER,
            f"{shown(values)} beside {name}",
            {**values, "strategy": name},
        )
    if len(values) == 2:
        said = f"entropy_coef {s['entropy_coef']:g} is where use_adaptive_entropy starts from, not a bonus that stays"
        return Found(Finding.BONUS_AND_CONTROLLER, said, values)
    return None
