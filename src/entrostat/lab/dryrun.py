"""`entrostat train --dry-run`: all of a run but its weights. What needs a hub and has none
is named, not failed."""

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

from entrostat.data.gym import PREFIX as GYM
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
from entrostat.lab.config import TrainConfig
from entrostat.lab.find_model import is_path
from entrostat.lab.load import load_tokenizer
from entrostat.lab.methods import Method, label, recipe, to_json
from entrostat.lab.quiet import quiet
from entrostat.lab.ranks import world_size
from entrostat.lab.source import make_source
from entrostat.lab.tasks import make_task
from entrostat.lab.train import check_held_out, check_run
from entrostat.lab.trl_config import grpo_config
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


class _Unchecked:
    """What could not be checked, and why, one line each."""

    def __init__(self):
        self.lines: list[str] = []

    def trying(self, what: str, work: Callable[[], T], *, remote: bool) -> T | None:
        """What `work` gives; None, with a line, where it fails for want of something on a
        hub."""
        try:
            return work()
        except (ValueError, OSError) as error:
            if not remote:
                raise
            reason = " ".join(str(error).split())
            self.lines.append(f"{what}: {reason[:300]}")
            return None


def dry_run(config: TrainConfig, method: Method) -> dict[str, Any]:
    """What the run would be, as JSON. ValueError for what would stop it before its first
    rollout."""
    quiet()
    check_run(config, method)
    check_weights(config)
    unchecked = _Unchecked()
    sample = _sample(config, unchecked)
    _check_grpo_config(config, method, unchecked)
    longest = PROMPT if sample is None else sample.longest
    return {
        "label": label(method),
        "method": to_json(method),
        "train": dataclasses.asdict(config),
        "sample": _sample_json(sample),
        "geometry": _geometry(config, method),
        "estimate": _estimate(config, longest, unchecked),
        "findings": [warning(finding) for finding in checkup(config, method)],
        "unchecked": unchecked.lines,
    }


# A prompt


def _sample(config: TrainConfig, unchecked: _Unchecked) -> _Sample | None:
    """None where tokenizer or problems cannot be had here."""
    tokenizer = unchecked.trying(
        "tokenizer, chat template",
        lambda: load_tokenizer(config),
        remote=_is_hub_name(config.model),
    )
    if tokenizer is None:
        _check_columns(config)
        unchecked.lines.append("prompts: they need the tokenizer")
        return None
    task = unchecked.trying(
        "data set",
        lambda: make_source(config, tokenizer),
        remote=_has_files(config) and not _is_local(config),
    )
    if task is None:
        return None
    check_held_out(task, config)
    count = min(LOOKED_AT, config.steps * config.prompts)
    problems = task.problems(count, split="train", seed=config.seed)
    ids = [tokenizer(problem.prompt)["input_ids"] for problem in problems]
    return _Sample(problems[0].prompt, ids[0], max(map(len, ids)))


def _check_columns(config: TrainConfig) -> None:
    """Without a tokenizer a local data set can be read at least, if not spelt."""
    if _has_files(config) and _is_local(config):
        source = find_source(config.dataset, config.columns, config.verifier)
        load_problems(source, config.drop_benchmarks)


def _has_files(config: TrainConfig) -> bool:
    """Whether the problems are read from files: reasoning-gym makes its own."""
    return bool(config.dataset) and not config.dataset.startswith(GYM)


def _is_local(config: TrainConfig) -> bool:
    """Whether those files are on this machine."""
    return find_source(config.dataset, config.columns, config.verifier).local


def _is_hub_name(model: str) -> bool:
    """Whether the model would be looked up on a hub."""
    return bool(model) and not is_path(model) and not Path(model).exists()


def _sample_json(sample: _Sample | None) -> dict[str, Any] | None:
    """The prompt and its first tokens."""
    if sample is None:
        return None
    return {
        "prompt": sample.prompt,
        "tokens": len(sample.ids),
        "ids": sample.ids[:32],
    }


# What TRL makes of it


def _check_grpo_config(
    config: TrainConfig, method: Method, unchecked: _Unchecked
) -> None:
    """TRL's own checks of its fields; some of them ask for the machine that the run is
    for, such as a GPU for bf16."""
    with tempfile.TemporaryDirectory() as folder:
        unchecked.trying(
            "GRPOConfig",
            lambda: grpo_config(config, Path(folder), recipe(method).trl),
            remote=not torch.cuda.is_available() and bool(config.grpo),
        )


def _geometry(config: TrainConfig, method: Method) -> dict[str, Any]:
    """How rollouts are divided into updates and passes."""
    processes = world_size()
    return {
        "rollouts": config.steps,
        "prompts": config.prompts,
        "completions": config.prompts * config.samples,
        "updates_per_rollout": config.updates_per_rollout,
        "optimizer_steps": config.steps * config.updates_per_rollout,
        "completions_per_update": config.completions_per_update,
        "processes": processes,
        "completions_per_device_at_once": _at_once(config, processes),
        "clipping_can_act": _can_act(config, method),
    }


def _at_once(config: TrainConfig, devices: int) -> int | None:
    """Completions that each device trains on at once; None where they cannot be shared
    evenly."""
    share, left = divmod(config.completions_per_pass, devices)
    return share if left == 0 else None


def _can_act(config: TrainConfig, method: Method) -> str:
    """Whether clip thresholds can do anything, as a sentence."""
    # one that cannot act was refused by check_run
    if recipe(method).strategy is None:
        return "the method has its own loss"
    if config.staleness > 0:
        return (
            "yes: from the second rollout on an older policy has sampled "
            f"(--staleness {config.staleness})"
        )
    updates = config.updates_per_rollout
    if updates > 1:
        return f"yes: from the second of {updates} updates a rollout on"
    return "yes: the strategy acts on fresh tokens, with one update a rollout"


# Memory and hours


def _estimate(
    config: TrainConfig, prompt: int, unchecked: _Unchecked
) -> dict[str, Any] | None:
    """None where the model's shape is not known, or completions cannot be shared."""
    shape = _shape(config, unchecked)
    devices = _devices(config)
    at_once = _at_once(config, devices)
    if shape is None or at_once is None:
        return None
    job = _job(config, prompt, devices, at_once)
    return {
        "parameters": shape.parameters,
        "devices": devices,
        "sharded": job.sharded,
        "completions_per_device_at_once": at_once,
        "prompt_tokens": prompt,
        "completion_tokens": job.completion,
        "bytes_per_device": memory(shape, job),
        "hours": _hours(shape, job),
    }


def _devices(config: TrainConfig) -> int:
    """Those that were launched; else a usual machine's, if it can share the work."""
    if world_size() > 1:
        return world_size()
    return DEVICES if _at_once(config, DEVICES) else 1


def _job(config: TrainConfig, prompt: int, devices: int, at_once: int) -> Job:
    """What memory and time depend on. Where [trl] is silent, TRL's own defaults hold."""
    grpo = config.grpo
    completion = config.max_completion
    if not config.dataset:
        completion = make_task(config.task).max_completion
    # a server of its own takes nothing of these devices
    beside = grpo.get("vllm_mode", "colocate") == "colocate"
    vllm = 0.0
    if grpo.get("use_vllm", False) and beside:
        vllm = float(grpo.get("vllm_gpu_memory_utilization", 0.3))
    return Job(
        devices=devices,
        rollouts=config.steps,
        completions=config.prompts * config.samples,
        micro_batch=at_once,
        prompt=prompt,
        completion=completion,
        sharded=devices > 1 and not config.lora_rank,
        bf16=bool(grpo.get("bf16", False)),
        checkpointing=bool(grpo.get("activation_checkpointing", False)),
        vllm=vllm,
        sleeps=bool(grpo.get("vllm_enable_sleep_mode", False)),
        lora=config.lora_rank,
    )


def _hours(shape: Shape, job: Job) -> dict[str, Any] | None:
    """For short and for long completions; None where there is no estimate."""
    short = hours(shape, job, job.completion / 4)
    long = hours(shape, job, float(job.completion))
    if short is None or long is None:
        return None
    return {"if a quarter of the longest": short, "if all are of the longest": long}


def _shape(config: TrainConfig, unchecked: _Unchecked) -> Shape | None:
    """The model's shape; None where its config cannot be had or has another form."""
    # known without a hub
    if config.model in SHAPES:
        return SHAPES[config.model]
    where = config.model or str(make_task(config.task).base_model)
    model_config = unchecked.trying(
        "shape of the model",
        lambda: AutoConfig.from_pretrained(where),
        remote=_is_hub_name(config.model),
    )
    if model_config is None:
        return None
    try:
        return shape_of(model_config)
    except AttributeError as error:
        line = f"memory and hours: an architecture without {error.name}"
        unchecked.lines.append(line)
        return None


# For a terminal


def shown(result: dict[str, Any]) -> Any:
    """What `dry_run` gave, for a terminal."""
    table = Table(title=Text(f"dry run: {result['label']}"), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    sample = result["sample"]
    if sample:
        # escaped: what a data set holds may have codes that move the terminal's cursor
        text = sample["prompt"][:600].encode("unicode_escape").decode()
        table.add_row("a prompt", Text(f"{sample['tokens']} tokens: {text}"))
    for name, value in result["geometry"].items():
        text = "cannot be shared evenly" if value is None else str(value)
        table.add_row(name.replace("_", " "), text)
    parts: list[Any] = [table]
    if result["estimate"]:
        parts.append(_estimate_table(result["estimate"]))
    for line in result["findings"] or ["nothing found"]:
        parts.append(Text(f"doctor: {line}"))
    for line in result["unchecked"]:
        parts.append(Text(f"not checked: {line}"))
    return Group(*parts)


def _estimate_table(estimate: dict[str, Any]) -> Table:
    """Bytes of each term, and hours."""
    how = "sharded" if estimate["sharded"] else "whole on each"
    size = f"{estimate['devices']} x {DEVICE_BYTES / 1e9:.0f} GB"
    table = Table(
        title=Text(f"estimate, not measured: {size}, {how}"),
        caption="formula and assumptions: docs/real-runs.md",
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    at_once = estimate["completions_per_device_at_once"]
    table.add_row("completions at once", str(at_once))
    for name, count in estimate["bytes_per_device"].items():
        table.add_row(name, f"{count / 1e9:.1f} GB a device")
    for name, taken in (estimate["hours"] or {}).items():
        table.add_row(
            f"completions: {name}",
            f"{taken['total']:.1f} h, {taken['generation']:.1f} of them generation",
        )
    return table
