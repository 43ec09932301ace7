"""`entrostat train --dry-run`: all of a run but its weights. What needs a hub and has none is named, not failed."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text
from transformers.models.auto.configuration_auto import AutoConfig

from entrostat.data.load import load_problems
from entrostat.data.sources import find_source
from entrostat.doctor import warning
from entrostat.lab.budget import (
    DEVICE_BYTES,
    SHAPES,
    Job,
    Shape,
    hours,
    memory,
    shape_of,
)
from entrostat.lab.checkup import checkup
from entrostat.lab.config import TrainConfig, grpo_config
from entrostat.lab.methods import Method, label, recipe, to_json
from entrostat.lab.ranks import world_size
from entrostat.lab.source import make_source
from entrostat.lab.tasks import make_task
from entrostat.lab.train import check_held_out, check_run, load_tokenizer, quiet
from entrostat.lab.weights import check_weights

T = TypeVar("T")
DEVICES = 8
"""Of the estimate, where nothing was launched."""
PROMPT = 512
"""Tokens of a prompt in the estimate, where no tokenizer could be had."""
LOOKED_AT = 64
"""Prompts that are tokenised."""


class _Sample(NamedTuple):
    """A prompt as the model reads it."""

    prompt: str
    ids: list[int]
    longest: int
    """Tokens of the longest of those looked at."""


class _Unchecked(list[str]):
    """What could not be checked, and why, one line each."""

    def trying(self, what: str, work: Callable[[], T], remote: bool) -> T | None:
        """What `work` gives; None, with a line, where it fails for want of something on a hub."""
        try:
            return work()
        except (ValueError, OSError) as error:
            if not remote:
                raise
            self.append(f"{what}: {' '.join(str(error).split())[:300]}")
            return None


def dry_run(config: TrainConfig, method: Method) -> dict[str, Any]:
    """What the run would be, as JSON. ValueError for what would stop it before its first rollout."""
    quiet()
    check_run(config, method)
    check_weights(config)
    unchecked = _Unchecked()
    sample = _sample(config, unchecked)
    _make_grpo_config(config, method, unchecked)
    return {
        "label": label(method),
        "method": to_json(method),
        "train": dataclasses.asdict(config),
        "sample": sample
        and {
            "prompt": sample.prompt,
            "tokens": len(sample.ids),
            "ids": sample.ids[:32],
        },
        "geometry": _geometry(config, method),
        "estimate": _estimate(config, sample.longest if sample else PROMPT, unchecked),
        "findings": [warning(found) for found in checkup(config, method)],
        "unchecked": list(unchecked),
    }


def _sample(config: TrainConfig, unchecked: _Unchecked) -> _Sample | None:
    far = _is_hub_name(config.model)
    tokenizer = unchecked.trying(
        "tokenizer, chat template", lambda: load_tokenizer(config), far
    )
    data_far = (
        bool(config.dataset)
        and not config.dataset.startswith("gym:")
        and _is_far(config)
    )
    if tokenizer is None:
        if config.dataset and not data_far and not config.dataset.startswith("gym:"):
            # its columns at least
            found = find_source(config.dataset, config.columns, config.verifier)
            load_problems(found, config.drop_benchmarks)
        unchecked.append("prompts: they need the tokenizer")
        return None
    source = unchecked.trying(
        "data set", lambda: make_source(config, tokenizer), data_far
    )
    if source is None:
        return None
    check_held_out(source, config)
    drawn = source.problems(
        min(LOOKED_AT, config.steps * config.prompts), split="train", seed=config.seed
    )
    ids = [tokenizer(problem.prompt)["input_ids"] for problem in drawn]
    return _Sample(drawn[0].prompt, ids[0], max(map(len, ids)))


def _is_far(config: TrainConfig) -> bool:
    return not find_source(config.dataset, config.columns, config.verifier).local


def _is_hub_name(model: str) -> bool:
    # as load_tokenizer has it: what can only be a folder is one
    return (
        bool(model)
        and not Path(model).exists()
        and model.count("/") < 2
        and not model.startswith((".", "/", "~"))
    )


def _make_grpo_config(
    config: TrainConfig, method: Method, unchecked: _Unchecked
) -> None:
    """TRL's own checks of its fields; some of them ask for the machine that the run is for."""
    far = not torch.cuda.is_available() and bool(config.grpo)
    with tempfile.TemporaryDirectory() as folder:
        unchecked.trying(
            "GRPOConfig",
            lambda: grpo_config(config, Path(folder), recipe(method).trl),
            far,
        )


def _geometry(config: TrainConfig, method: Method) -> dict[str, Any]:
    processes = world_size()
    strategy = recipe(method).strategy
    return {
        "rollouts": config.steps,
        "prompts": config.prompts,
        "completions": config.prompts * config.samples,
        "updates_per_rollout": config.updates_per_rollout,
        "optimizer_steps": config.steps * config.updates_per_rollout,
        "completions_per_update": config.micro_batch,
        "processes": processes,
        "completions_per_device_at_once": _at_once(config, processes),
        "clipping_can_act": _can_act(config, strategy),
    }


def _at_once(config: TrainConfig, devices: int) -> int | None:
    """Completions that each device trains on at once; None where they cannot be shared."""
    share, left = divmod(config.micro_batch, devices * config.micro_batches)
    return None if left else share


def _can_act(config: TrainConfig, strategy: Any) -> str:
    if strategy is None:
        return "the method has its own loss"
    if config.updates_per_rollout > 1:
        return (
            f"yes: from the second of {config.updates_per_rollout} updates a rollout on"
        )
    return "yes: the strategy acts on fresh tokens, with one update a rollout"


def _estimate(
    config: TrainConfig, prompt: int, unchecked: _Unchecked
) -> dict[str, Any] | None:
    shape = _shape(config, unchecked)
    devices = (
        world_size()
        if world_size() > 1
        else DEVICES
        if _at_once(config, DEVICES)
        else 1
    )
    at_once = _at_once(config, devices)
    if shape is None or at_once is None:
        return None
    vllm = (
        config.grpo.get("use_vllm", False)
        and config.grpo.get("vllm_mode", "colocate") == "colocate"
    )
    length = (
        config.max_completion
        if config.dataset
        else make_task(config.task).max_completion
    )
    job = Job(
        devices=devices,
        rollouts=config.steps,
        completions=config.prompts * config.samples,
        micro_batch=at_once,
        prompt=prompt,
        completion=length,
        sharded=devices > 1 and not config.lora_rank,
        bf16=bool(config.grpo.get("bf16", False)),
        checkpointing=bool(config.grpo.get("activation_checkpointing", False)),
        vllm=float(config.grpo.get("vllm_gpu_memory_utilization", 0.3))
        if vllm
        else 0.0,
        sleeps=bool(config.grpo.get("vllm_enable_sleep_mode", False)),
        lora=config.lora_rank,
    )
    long, short = hours(shape, job, float(length)), hours(shape, job, length / 4)
    return {
        "parameters": shape.parameters,
        "devices": devices,
        "sharded": job.sharded,
        "completions_per_device_at_once": at_once,
        "prompt_tokens": prompt,
        "completion_tokens": length,
        "bytes_per_device": memory(shape, job),
        "hours": {
            "if a quarter of the longest": short,
            "if all are of the longest": long,
        }
        if long and short
        else None,
    }


def _shape(config: TrainConfig, unchecked: _Unchecked) -> Shape | None:
    where = config.model or str(make_task(config.task).base_model)
    known = SHAPES.get(config.model)
    if known is not None:
        return known
    found = unchecked.trying(
        "shape of the model",
        lambda: AutoConfig.from_pretrained(where),
        _is_hub_name(config.model),
    )
    try:
        return None if found is None else shape_of(found)
    except AttributeError as error:
        unchecked.append(f"memory and hours: an architecture without {error.name}")
        return None


def shown(result: dict[str, Any]) -> Any:
    """The same for a terminal."""
    table = Table(title=Text(f"dry run: {result['label']}"), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    if result["sample"]:
        # escaped: what a data set holds may have codes that move the terminal's cursor
        text = result["sample"]["prompt"][:600].encode("unicode_escape").decode()
        table.add_row("a prompt", Text(f"{result['sample']['tokens']} tokens: {text}"))
    for name, value in result["geometry"].items():
        table.add_row(
            name.replace("_", " "),
            "cannot be shared evenly" if value is None else str(value),
        )
    parts: list[Any] = [table]
    if result["estimate"]:
        parts.append(_estimate_table(result["estimate"]))
    parts += [
        Text(f"doctor: {line}") for line in result["findings"] or ["nothing found"]
    ]
    parts += [Text(f"not checked: {line}") for line in result["unchecked"]]
    return Group(*parts)


def _estimate_table(estimate: dict[str, Any]) -> Table:
    how = "sharded" if estimate["sharded"] else "whole on each"
    table = Table(
        title=Text(
            f"estimate, not measured: {estimate['devices']} x {DEVICE_BYTES / 1e9:.0f} GB, {how}"
        ),
        caption="formula and assumptions: docs/real-runs.md",
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row(
        "completions at once", str(estimate["completions_per_device_at_once"])
    )
    for name, size in estimate["bytes_per_device"].items():
        table.add_row(name, f"{size / 1e9:.1f} GB a device")
    for name, found in (estimate["hours"] or {}).items():
        table.add_row(
            f"completions: {name}",
            f"{found['total']:.1f} h, {found['generation']:.1f} of them generation",
        )
    return table
