"""A run in a TOML file, a recipe: `entrostat train --config X.toml`.

    [train]      options of entrostat train, by their names
    [method]     name, and options of its own
    [trl]        fields of TRL's GRPOConfig that the lab has no option for: bf16, vLLM, ...

The first two become words of the command line, in front of those that were typed. So they
mean there what they mean here, and what is typed wins. The third goes into the run's
options as it is (`TrainConfig.grpo`).
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from entrostat.lab.options import option

TABLES = ("train", "method", "trl")

_A_LINE_PER_ROLLOUT = "nothing: a line is written for each rollout"
_ADAPTIVE = '[method] name = "trl:adaptive-entropy"'
_SAPO = '[method] name = "trl:sapo"'
OURS: Mapping[str, str] = MappingProxyType(
    {
        "output_dir": "--out",
        "max_steps": "[train] steps",
        "num_train_epochs": "[train] steps",
        "per_device_train_batch_size": (
            "[train] prompts, samples, updates_per_rollout and micro_batches"
        ),
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
        "logging_steps": _A_LINE_PER_ROLLOUT,
        "logging_strategy": _A_LINE_PER_ROLLOUT,
        "logging_first_step": _A_LINE_PER_ROLLOUT,
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
        "chat_template_kwargs": (
            "[train] model: one whose template has them, since TRL gets rendered prompts"
        ),
        "epsilon": "[method] low",
        "epsilon_high": "[method] high",
        "importance_sampling_level": '[method] name = "trl:gspo"',
        "entropy_coef": '[method] name = "trl:entropy-bonus"',
        "use_adaptive_entropy": _ADAPTIVE,
        "entropy_target": _ADAPTIVE,
        "entropy_coef_delta": _ADAPTIVE,
        "entropy_coef_max": _ADAPTIVE,
        "sapo_temperature_pos": _SAPO,
        "sapo_temperature_neg": _SAPO,
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

    Raises ValueError (or OSError), one line that names the file, for what cannot be read
    and what is not known, with the names near it. Options of a method and all values are
    checked where the command line's are.
    """
    if path.suffix.lower() != ".toml":
        raise ValueError(f"--config {path} must end in .toml")
    tables = _tables(path)
    train, grpo = tables["train"], tables["trl"]
    for name in train:
        if name not in options:
            raise ValueError(
                f"{path}: [train] has no option {name[:60]!r}: {_near(name, options)}"
            )
    method = _method(tables["method"], path) if "method" in tables else None
    try:
        check_grpo(grpo)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return RecipeFile(as_words(train, f"{path}: [train]"), method, grpo)


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    """The file's tables; [train] and [trl] are empty where it has none."""
    # the doctor's readers take a moment to import, and most runs have no recipe
    from entrostat.doctor.read import read_file

    tables: dict[str, dict[str, Any]] = {"train": {}, "trl": {}}
    for name, table in read_file(path).items():
        if name not in TABLES:
            raise ValueError(
                f"{path}: no table [{name[:60]}] in a recipe, "
                f"which has {', '.join(TABLES)}"
            )
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} must be a table: [{name}]")
        tables[name] = table
    return tables


def _near(name: str, names: set[str]) -> str:
    from entrostat.doctor import near_name

    return near_name(name, names)


def _method(table: dict[str, Any], path: Path) -> tuple[str, list[str]]:
    options = dict(table)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f'{path}: [method] needs a name: name = "thermostat"')
    return name, as_words(options, f"{path}: [method]")


def as_words(table: Mapping[str, Any], where: str) -> list[str]:
    """A table as options of the command line. ValueError for a value that there is no word
    for.

    >>> as_words({"learning_rate": 5e-7, "eval_at": [1, 2], "high": float("inf")}, "")
    ['--learning-rate', '5e-07', '--eval-at', '1', '2', '--high', 'inf']
    """
    words: list[str] = []
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        for one in values:
            # True is an int to Python; on the command line it is a bare --option
            if isinstance(one, bool) or not isinstance(one, str | int | float):
                raise ValueError(
                    f"{where} {name} must be text, a number or a list of such, "
                    f"got {str(value)[:60]!r}"
                )
            # the command line would read it as an option
            if str(one).startswith("--"):
                raise ValueError(
                    f"{where} {name} begins with --, got {str(value)[:60]!r}"
                )
        if values:
            words += [option(name), *map(str, values)]
    return words


def check_grpo(fields: Mapping[str, Any]) -> None:
    """ValueError for what [trl] cannot hold: fields that are not GRPOConfig's, that the
    lab sets, of a wrong type."""
    if not fields:
        return
    types_of = _types_of_fields()
    for name, value in fields.items():
        if name in OURS:
            raise ValueError(f"[trl] {name} is set by the lab: use {OURS[name]}")
        if name not in types_of:
            free = set(types_of) - set(OURS)
            raise ValueError(
                f"[trl] GRPOConfig has no field {name[:60]!r}: {_near(name, free)}"
            )
        wanted = types_of[name]
        if not fits(value, wanted):
            called = getattr(wanted, "__name__", str(wanted))
            raise ValueError(f"[trl] {name} must be {called}, got {str(value)[:60]!r}")


@functools.cache
def _types_of_fields() -> Mapping[str, Any]:
    """GRPOConfig's fields and their types."""
    # TRL takes seconds to import, and most runs have no [trl]
    from trl.trainer.grpo_config import GRPOConfig

    hints = typing.get_type_hints(GRPOConfig)
    return {field.name: hints[field.name] for field in dataclasses.fields(GRPOConfig)}


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value of a TOML file can stand where a type is annotated. A whole number
    is a float too.

    >>> fits(1, float), fits(True, int), fits("bf16", bool | None), fits([1], str | list)
    (True, False, False, True)
    """
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(wanted))
    if origin is typing.Literal:
        return value in typing.get_args(wanted)
    if wanted is Any:
        return True
    # list[str] is checked as a list alone: TRL checks what is in it
    plain = origin or wanted
    if isinstance(value, bool) or plain is bool:
        return isinstance(value, bool) and plain is bool
    return isinstance(value, int | float if plain is float else plain)
