"""A run in a TOML file: `entrostat train --config X.toml`.

    [train]      options of entrostat train, by their names
    [method]     name, and options of its own
    [trl]        fields of TRL's GRPOConfig that the lab has no option for: bf16, vLLM, warm-up, ...

The first two become words of the command line, in front of those that were typed, so that they mean there what they
mean here and what is typed wins. The third goes into the run's options as it is (`TrainConfig.grpo`).
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.doctor import near_name
from entrostat.doctor.read import read_file

TABLES = ("train", "method", "trl")

OURS: Mapping[str, str] = MappingProxyType(
    {
        "output_dir": "--out",
        "max_steps": "[train] steps",
        "num_train_epochs": "[train] steps",
        "per_device_train_batch_size": "[train] prompts, samples, updates_per_rollout and micro_batches",
        "gradient_checkpointing": "[trl] activation_checkpointing",
        "auto_find_batch_size": "[train] micro_batches",
        "gradient_accumulation_steps": "[train] micro_batches",
        "steps_per_generation": "[train] updates_per_rollout",
        "generation_batch_size": "[train] prompts and samples",
        "num_iterations": "[train] updates_per_rollout",
        "num_generations": "[train] samples",
        "max_completion_length": "[train] max_completion",
        "temperature": "[train] temperature",
        "learning_rate": "[train] learning_rate",
        "max_grad_norm": "[train] max_grad_norm",
        "loss_type": "[train] loss_type",
        "scale_rewards": "[train] scale_rewards",
        "seed": "[train] seed",
        "report_to": "[train] report_to",
        "shuffle_dataset": "[train] seed: problems are drawn by it",
        "logging_steps": "nothing: a line is written each rollout",
        "logging_strategy": "nothing: a line is written each rollout",
        "logging_first_step": "nothing: a line is written each rollout",
        "save_steps": "[train] save_every",
        "save_strategy": "[train] save_every",
        "save_total_limit": "nothing: the last two checkpoints are kept",
        "save_only_model": "nothing: a run can always be resumed",
        "eval_strategy": "[train] eval_at",
        "eval_steps": "[train] eval_at",
        "eval_on_start": "[train] eval_problems",
        "resume_from_checkpoint": "--resume",
        "disable_tqdm": "nothing: the lab has its own progress",
        "use_cpu": "nothing: a GPU is used where there is one",
        "model_init_kwargs": "[train] model",
        "chat_template_kwargs": "[train] model: one whose template has them, since TRL gets rendered prompts",
        "epsilon": "[method] low",
        "epsilon_high": "[method] high",
        "importance_sampling_level": '[method] name = "trl:gspo"',
        "entropy_coef": '[method] name = "trl:entropy-bonus"',
        "use_adaptive_entropy": '[method] name = "trl:adaptive-entropy"',
        "entropy_target": '[method] name = "trl:adaptive-entropy"',
        "entropy_coef_delta": '[method] name = "trl:adaptive-entropy"',
        "entropy_coef_max": '[method] name = "trl:adaptive-entropy"',
        "sapo_temperature_pos": '[method] name = "trl:sapo"',
        "sapo_temperature_neg": '[method] name = "trl:sapo"',
    }
)
"""Fields of GRPOConfig that the lab sets, and what to set in their place."""


class RecipeFile(NamedTuple):
    """What a file says."""

    words: list[str]
    """[train], as words of the command line."""
    method: tuple[str, list[str]] | None
    """[method]: its name, and its options as words."""
    grpo: Mapping[str, Any]
    """[trl]."""


def read_recipe(path: Path, options: set[str]) -> RecipeFile:
    """The recipe in a TOML file. `options`: the names that [train] may have.

    Raises ValueError (or OSError), one line that names the file, for what cannot be read and what is not known, with
    the names near it. Options of a method and all values are checked where the command line's are.
    """
    if path.suffix.lower() != ".toml":
        raise ValueError(f"--config {path} must end in .toml")
    tables = read_file(path)
    for name, table in tables.items():
        if name not in TABLES:
            raise ValueError(
                f"{path}: no table [{name[:60]}] in a recipe, which has {', '.join(TABLES)}"
            )
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} must be a table: [{name}]")
    train, method, grpo = (dict(tables.get(name, {})) for name in TABLES)
    for name in train:
        if name not in options:
            raise ValueError(
                f"{path}: [train] has no option {name[:60]!r}: {near_name(name, options)}"
            )
    chosen = None
    if "method" in tables:
        name = method.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f'{path}: [method] needs a name: name = "thermostat"')
        chosen = name, as_words(method, f"{path}: [method]")
    try:
        check_grpo(grpo)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return RecipeFile(as_words(train, f"{path}: [train]"), chosen, grpo)


def as_words(table: Mapping[str, Any], where: str) -> list[str]:
    """A table as options of the command line. ValueError for a value that there is no word for.

    >>> as_words({"learning_rate": 5e-7, "eval_at": [1, 2], "high": float("inf")}, "[train]")
    ['--learning-rate', '5e-07', '--eval-at', '1', '2', '--high', 'inf']
    """
    words: list[str] = []
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(
            isinstance(one, str | int | float) and not isinstance(one, bool)
            for one in values
        ):
            raise ValueError(
                f"{where} {name} must be text, a number or a list of such, got {str(value)[:60]!r}"
            )
        if any(isinstance(one, str) and one.startswith("--") for one in values):
            raise ValueError(f"{where} {name} begins with --, got {str(value)[:60]!r}")
        if values:
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def check_grpo(fields: Mapping[str, Any]) -> None:
    """ValueError for what [trl] cannot hold: fields that are not GRPOConfig's, that the lab sets, of a wrong type."""
    known = _kinds()
    for name, value in fields.items():
        if name in OURS:
            raise ValueError(f"[trl] {name} is set by the lab: use {OURS[name]}")
        if name not in known:
            raise ValueError(
                f"[trl] GRPOConfig has no field {name[:60]!r}: {near_name(name, set(known) - set(OURS))}"
            )
        if not fits(value, known[name]):
            wanted = getattr(known[name], "__name__", str(known[name]))
            raise ValueError(f"[trl] {name} must be {wanted}, got {str(value)[:60]!r}")


@functools.cache
def _kinds() -> Mapping[str, Any]:
    """GRPOConfig's fields and their types."""
    from trl.trainer.grpo_config import GRPOConfig

    hints = typing.get_type_hints(GRPOConfig)
    return {field.name: hints[field.name] for field in dataclasses.fields(GRPOConfig)}


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a TOML file can stand where `kind` is annotated. A whole number is a float too.

    >>> fits(1, float), fits(True, int), fits("bf16", bool | None), fits(["a"], str | list[str])
    (True, False, False, True)
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(kind))
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if kind is Any:
        return True
    kind = origin or kind
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, int | float if kind is float else kind)
