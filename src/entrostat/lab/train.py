"""One run of GRPO or PPO under an entropy strategy: TRL on a task of the lab, in a folder
that survives a kill.

A run is checked and its groundwork laid (`prepare`), its folder is made (`begin`), and it
is trained to its end (`train`), in one process or, after a kill, in several.
"""

import contextlib
import dataclasses
import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from transformers.trainer_callback import PrinterCallback

import entrostat
from entrostat.data.prompts import plain_notes
from entrostat.engines.controller import Controller
from entrostat.engines.ppo import EntropyControlPPOTrainer
from entrostat.engines.trl import EntropyControlGRPOTrainer
from entrostat.lab.config import OnError, TrainConfig, config_from_json
from entrostat.lab.context import (
    Context,
    Groundwork,
    lay_groundwork,
    score,
    training_set,
)
from entrostat.lab.control import control
from entrostat.lab.evaluate import PROBE_PROMPTS, held_out, to_choose
from entrostat.lab.fast_run import train_fast
from entrostat.lab.load import load_weights
from entrostat.lab.methods import Method, from_json, label, method_name, recipe, to_json
from entrostat.lab.quiet import quiet
from entrostat.lab.ranks import Ranks
from entrostat.lab.recorder import Aim, Recorder
from entrostat.lab.rewards import make_reward
from entrostat.lab.run import Run
from entrostat.lab.source import Judged
from entrostat.lab.tasks import ProblemSource
from entrostat.lab.trl_config import grpo_config
from entrostat.lab.watch import Stop, Watcher
from entrostat.lab.weights import adapters, check_weights, placed, save
from entrostat.registry import finite
from entrostat.texts import first_line
from entrostat.trainers import ratios_can_move

# Before a run has a folder


def check_run(config: TrainConfig, method: Method) -> None:
    """Raises ValueError for a method that could not do under `config` what it says."""
    name, parts = method_name(method), recipe(method)
    if (
        not ratios_can_move(config.updates_per_rollout, config.staleness)
        and parts.strategy is not None
        and not parts.strategy.acts_on_fresh
    ):
        raise ValueError(
            f"{name!r} cannot act: with one update per rollout every ratio is exactly 1 "
            "and no clip threshold does anything; set --updates-per-rollout to 2 or more "
            "(TRL: steps_per_generation over gradient_accumulation_steps, or "
            "num_iterations over 1)"
        )
    if config.engine == "fast":
        # raises where that engine does not have the method
        control(method)
    loss_type = parts.trl.get("loss_type", config.loss_type)
    if config.loss_type not in (TrainConfig.loss_type, loss_type):
        raise ValueError(
            f"{name!r} has a loss type of its own, {loss_type}: "
            f"leave out --loss-type {config.loss_type}"
        )


def check_held_out(task: ProblemSource, config: TrainConfig) -> None:
    """ValueError where there are fewer problems than the run scores, chooses a
    temperature on or measures entropy on."""
    if config.eval_problems:
        held_out(task, config.eval_problems)
    if config.temperatures:
        to_choose(task, config.eval_problems, config.eval_split)
    if not config.probe_every:
        return
    try:
        held_out(task, PROBE_PROMPTS)
    except ValueError as error:
        raise ValueError(
            f"--probe-every takes {PROBE_PROMPTS} held-out problems: "
            f"leave it out ({error})"
        ) from None


def prepare(config: TrainConfig, method: Method) -> Groundwork:
    """The groundwork of a new run. ValueError for what would stop it before its first
    rollout. What the user is to know of its data goes to stderr."""
    quiet()
    check_run(config, method)
    check_weights(config)
    ground = lay_groundwork(config, method)
    task = ground.task
    if isinstance(task, Judged):
        check_held_out(task, config)
        for note in [*plain_notes(ground.tokenizer), *task.notes]:
            print(f"entrostat: warning: {note}", file=sys.stderr)
    return ground


def begin(ground: Groundwork, out: Path, command: str = "") -> Run:
    """Makes the folder of a run. ValueError where `out` holds something already."""
    config, method = ground.config, ground.method
    parts = recipe(method)
    record: dict[str, Any] = {
        "entrostat": entrostat.__version__,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
        },
        "label": _label(config, method),
        "command": command,
        "strategy": to_json(method),
        "trl": finite(parts.trl),
        **dataclasses.asdict(config),
    }
    if isinstance(ground.task, Judged):
        record["data"] = ground.task.record
    controller = Controller(parts.strategy, parts.objective)
    return Run.create(out, record, controller.payload())


def new_run(config: TrainConfig, method: Method, out: Path, command: str = "") -> Run:
    """The folder of a run that has not begun. ValueError, before anything is written,
    where it could not begin."""
    return begin(prepare(config, method), out, command)


def _label(config: TrainConfig, method: Method) -> str:
    """What tells the run from others beside it: its method, and the options of a critic
    and of adapters."""
    words = [label(method)]
    if config.critic:
        words.append("gae")
    for name, value in config.critic.items():
        if value != getattr(TrainConfig, name):
            words.append(f"{name} {value}")
    if config.lora_rank:
        words.append(f"lora {config.lora_rank}")
    return ", ".join(words)


# A run that has a folder


def read_run(run: Run) -> tuple[TrainConfig, Method]:
    """The options and the method that a run was made with."""
    try:
        return config_from_json(run.config), from_json(run.config["strategy"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{run.path / 'config.json'} lacks or misnames {error}: "
            "the run can't be continued"
        ) from None


def on_verifier_error(run: Run, told: OnError) -> None:
    """Changes what a run that has not ended does about it. ValueError where it has no
    verifier, or is in training."""
    if run.summary is None:
        # what the run was made with must allow the option
        config_from_json({**run.config, "on_verifier_error": told})
        run.change(on_verifier_error=told)


def train(
    run: Run,
    watcher: Watcher | None = None,
    *,
    parent: int | None = None,
    ranks: Ranks | None = None,
    ground: Groundwork | None = None,
) -> dict[str, Any] | None:
    """Starts the run or goes on with it, to its end: its summary, or None where Ctrl-C
    stopped it.

    Args:
        parent: the process that waits for this one; the run stops, resumable, when that
            one is gone.
        ranks: the processes that share the run: each calls this, with its own place among
            them.
        ground: what `prepare` gave in this process, where it has made the run; without it
            the groundwork is laid anew.

    Raises ValueError for a state that cannot be continued, RewardError from a reward,
    OSError from a full disk.
    """
    ranks = ranks or Ranks()
    with ranks.holding(run.locked()), _naming_full_disk(run):
        if run.summary is not None:
            return run.summary
        config, method = read_run(run)
        stop = Stop(watcher or Watcher(), parent or ranks.launcher)
        quiet()
        # results are equal only between equal values: before anything is computed
        torch.set_num_threads(config.threads)
        if config.engine == "trl":
            ground = ground or lay_groundwork(config, method)
            return _train_on_trl(run, ground, ranks, stop)
        if ranks.size > 1:
            raise ValueError(
                "--engine fast runs in one process: start it without a launcher, "
                "or leave --engine out"
            )
        return train_fast(run, config, method, stop)


def _train_on_trl(
    run: Run, ground: Groundwork, ranks: Ranks, stop: Stop
) -> dict[str, Any] | None:
    """From the run's last checkpoint to its end, or to the end of the rollout in which it
    is stopped."""
    # rank 0 cuts the folder back, and the others wait until it has
    checkpoint = ranks.first(run.rewind)
    context = _context(run, ground, ranks, stop)
    model = placed(load_weights(context.config))
    start = score(context, "start", model)
    trainer = _trainer(context, model)
    recorder = Recorder(context, trainer)
    trainer.add_callback(recorder)
    with stop.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    # Ctrl-C in the last rollout stops nothing: the run is over
    if recorder.stopped and trainer.state.global_step < trainer.state.max_steps:
        return None
    trained = save(trainer, context.tokenizer, run, ranks.first)
    end = score(context, "end", trained)
    return ranks.first(lambda: run.finish(start, end))


def _context(run: Run, ground: Groundwork, ranks: Ranks, stop: Stop) -> Context:
    """All that the run's training needs. ValueError where the problems are not what they
    were when the run was made."""
    config, task = ground.config, ground.task
    if isinstance(task, Judged):
        changes = task.differences(run.config.get("data") or {})
        if changes:
            raise ValueError(
                f"{task.name} is not what it was when {run.path} began ({changes}): "
                "the run can't be continued"
            )
        task.serve(stop.watcher.note, run.resume)
    return Context(
        run=run,
        config=config,
        method=recipe(ground.method),
        tokenizer=ground.tokenizer,
        task=task,
        dataset=training_set(task, config),
        ranks=ranks,
        stop=stop,
    )


def _trainer(context: Context, model: Any) -> Any:
    """TRL's trainer of the run, quiet, with all its callbacks but the recorder."""
    run, config, method = context.run, context.config, context.method
    ranks = context.ranks
    # TRL counts completions per device, the lab those of all ranks
    fields = {**method.trl, "per_device_train_batch_size": context.pass_size}
    kind, critic = _trainer_kind(config)
    trainer = kind(
        model=model,
        processing_class=context.tokenizer,
        peft_config=adapters(config),
        reward_funcs=make_reward(
            config.reward, context.task, config.seed, ranks.rank, ranks.size
        ),
        args=grpo_config(config, run.trainer_folder, fields),
        train_dataset=context.dataset,
        strategy=method.strategy,
        objective=method.objective,
        attribution_share=config.attribution_share,
        dump_every=config.dump_every,
        dump_dir=run.dump_folder,
        **critic,
    )
    trainer.remove_callback(PrinterCallback)
    if method.target is not None:
        # before the recorder, which writes the target that this one logs
        trainer.add_callback(Aim(method.target, config.updates_per_rollout))
    return trainer


def _trainer_kind(config: TrainConfig) -> tuple[type[Any], dict[str, Any]]:
    """The trainer that gives the advantages asked for, and its options."""
    if config.advantage == "group":
        return EntropyControlGRPOTrainer, {}
    normalise = "std" if config.scale_rewards == "group" else "mean"
    return EntropyControlPPOTrainer, {"normalise": normalise, **config.critic}


# What the libraries that write checkpoints say of a write that the disk refuses. torch
# only says where its file stood.
_REFUSED_WRITE = re.compile(
    r"no space left|file too large|quota exceeded|unexpected pos|file write failed",
    re.I,
)


@contextlib.contextmanager
def _naming_full_disk(run: Run) -> Iterator[None]:
    """Turns each library's own words for a full disk into one OSError that says how to go
    on."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) or not _REFUSED_WRITE.search(str(error)):
            raise
        told = (
            f"the disk takes no more ({first_line(error)}): free some space, "
            f"then entrostat train --resume {run.path}"
        )
        raise OSError(errno.ENOSPC, told, str(run.path)) from error
