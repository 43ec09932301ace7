"""One run of GRPO or PPO under an entropy strategy: TRL on a task of the lab, in a folder that survives a kill."""

import contextlib
import dataclasses
import errno
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

import entrostat
from entrostat.data.prompts import plain_notes
from entrostat.engines.controller import Controller
from entrostat.engines.ppo import EntropyControlPPOTrainer
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer, EntropyControlMixin
from entrostat.lab.config import TrainConfig, config_from_json, grpo_config
from entrostat.lab.control import control
from entrostat.lab.evaluate import (
    BATCH,
    PROBE_PROMPTS,
    drawing,
    held_out,
    held_out_entropy,
    to_choose,
)
from entrostat.lab.fast_run import train_fast
from entrostat.lab.load import first_line, load_model, load_tokenizer
from entrostat.lab.maps import map_line
from entrostat.lab.methods import Method, from_json, label, method_name, recipe, to_json
from entrostat.lab.ranks import Ranks
from entrostat.lab.rewards import UNSCORED, make_reward
from entrostat.lab.run import Run
from entrostat.lab.scoring import scored
from entrostat.lab.source import Judged, OnError, make_source
from entrostat.lab.tasks import ProblemSource
from entrostat.lab.watch import Stop, Watcher
from entrostat.lab.weights import adapters, check_weights, placed, save
from entrostat.registry import finite
from entrostat.schedule import Schedule


def quiet() -> None:
    """Keeps the bars and notices of the libraries below off stderr, which is the watcher's."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module=r"(transformers|trl)\b"
    )


def _dataset(task: ProblemSource, config: TrainConfig) -> datasets.Dataset:
    # one epoch: each rollout has prompts of its own, and their order is the seed's
    drawn = task.problems(
        config.steps * config.prompts, split="train", seed=config.seed
    )
    return datasets.Dataset.from_list(
        [{"prompt": p.prompt, "key": p.key, "data": p.data} for p in drawn]
    )


class _Aim(TrainerCallback):
    """Moves the entropy that TRL's own controller aims at along its schedule, and logs it as the run's target."""

    def __init__(self, target: Schedule, updates: int):
        self.target, self.updates = target, updates

    def on_step_begin(self, args, state, control, **_):
        rollouts = state.global_step // self.updates
        args.entropy_target = self.target(
            rollouts * self.updates / state.max_steps, rollouts
        )

    def on_log(self, args, state, control, logs=None, **_):
        if logs and PREFIX + "clip_low" in logs:
            logs[PREFIX + "target"] = args.entropy_target


class _Recorder(TrainerCallback):
    """Writes the run's folder as TRL goes, and turns Ctrl-C into a checkpoint at the end of the rollout."""

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        task: ProblemSource,
        watcher: Watcher,
        parent: int | None,
        ranks: Ranks,
    ):
        self.run, self.config, self.watcher, self.ranks = run, config, watcher, ranks
        self.task = task
        self.stop = Stop(watcher, parent)
        self.trainer: EntropyControlMixin | None = None
        self.probed: dict[str, float] = {}
        self.stopped = False
        self.started = time.perf_counter()

    def on_step_begin(
        self, args, state, control, model: Any = None, processing_class: Any = None, **_
    ):
        rollout, update = divmod(state.global_step, self.config.updates_per_rollout)
        self.probed = self.probed if update else {}
        assert self.trainer is not None
        self.trainer.keep_tokens = (
            bool(self.config.map_every) and rollout % self.config.map_every == 0
        )
        if update or not self.config.probe_every or rollout % self.config.probe_every:
            return
        with self._off_the_clock():
            batch = self.ranks.share(self.config) if self.config.model else BATCH
            draw = drawing(model, processing_class, self.task, batch)
            options = {"temperature": self.config.temperature, "seed": rollout}
            probe = lambda: held_out_entropy(draw, self.task, **options)  # noqa: E731
            self.probed = {"held_out_entropy": self.ranks.first(probe)}

    @contextlib.contextmanager
    def _off_the_clock(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.started += time.perf_counter() - begin

    def on_log(self, args, state, control, logs=None, **_):
        if not logs or PREFIX + "clip_low" not in logs:
            return
        assert self.trainer is not None
        tokens = self.ranks.gather_tokens(self.trainer.take_tokens())
        if not self.ranks.is_first:
            return
        step = state.global_step // self.config.updates_per_rollout - 1
        line = metrics_line(step, self.config.steps, logs) | self.probed
        self.run.append("metrics.jsonl", line)
        if tokens is not None:
            self.run.append("response.jsonl", map_line(step, tokens))
        now = time.perf_counter()
        self.run.append(
            "timing.jsonl", {"step": step, "seconds": round(now - self.started, 4)}
        )
        self.started = now
        self.watcher.line(line)

    def on_step_end(
        self, args, state, control, model: Any = None, processing_class: Any = None, **_
    ):
        rollouts, update = divmod(state.global_step, self.config.updates_per_rollout)
        if not update and rollouts in self.config.eval_at:
            with self._off_the_clock():
                _score(
                    self.run,
                    str(rollouts),
                    model,
                    processing_class,
                    self.task,
                    self.config,
                    self.watcher,
                    self.ranks,
                )
        if not update:
            self.stopped = self.ranks.any(
                self.stop.asked
            )  # all stop after the same rollout
        if self.stopped and not update:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_save(self, args, state, control, **_):
        self.ranks.any(False)  # each has written its part
        if not self.ranks.is_first:
            return
        assert self.trainer is not None
        checkpoint = get_last_checkpoint(str(args.output_dir))
        assert checkpoint is not None
        rollouts = state.global_step // self.config.updates_per_rollout
        self.run.commit(
            Path(checkpoint).name, rollouts, self.trainer.controller_payload()
        )


def metrics_line(step: int, steps: int, logs: dict[str, float]) -> dict[str, Any]:
    """A line of metrics.jsonl from TRL's log of one rollout."""
    ours = {k.removeprefix(PREFIX): v for k, v in logs.items() if k.startswith(PREFIX)}
    line = {
        "step": step,
        "progress": step / steps,
        "entropy": ours.pop("entropy", None),
        "target": None,
    }
    line |= {"reward": logs.get("reward")} | ours
    for name, key in (
        ("zero_advantage_groups", "frac_reward_zero_std"),
        ("completion_length", "completions/mean_length"),
        ("truncated", "completions/clipped_ratio"),
        ("grad_norm", "grad_norm"),
    ):
        line[name] = logs.get(key)
    return line | {
        name: logs[name] for name in ("entropy_coef", UNSCORED) if name in logs
    }


def check_run(config: TrainConfig, method: Method) -> None:
    """Raises ValueError for a method that could not do under `config` what it says."""
    name, (strategy, _, overrides, _) = method_name(method), recipe(method)
    if (
        config.updates_per_rollout == 1
        and not config.staleness
        and strategy is not None
        and not strategy.acts_on_fresh
    ):
        raise ValueError(
            f"{name!r} cannot act: with one update a rollout every ratio is exactly 1 and no clip threshold does "
            "anything; set --updates-per-rollout to 2 or more (TRL: steps_per_generation over "
            "gradient_accumulation_steps, or num_iterations over 1)"
        )
    loss_type = overrides.get("loss_type", config.loss_type)
    if config.engine == "fast":
        control(method)
    if config.loss_type not in (TrainConfig.loss_type, loss_type):
        raise ValueError(
            f"{name!r} has a loss type of its own, {loss_type}: leave out --loss-type {config.loss_type}"
        )


def new_run(config: TrainConfig, method: Method, out: Path, command: str = "") -> Run:
    """The folder of a run that has not begun. ValueError, before anything is written, where it could not."""
    quiet()
    check_run(config, method)
    check_weights(config)
    data = _checked_data(config)
    strategy, objective, overrides, _ = recipe(method)
    record = {
        "entrostat": entrostat.__version__,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
        },
        "label": _label(config, method),
        "command": command,
        "strategy": to_json(method),
        "trl": finite(overrides),
        **dataclasses.asdict(config),
        **data,
    }
    return Run.create(out, record, Controller(strategy, objective).payload())


def _checked_data(config: TrainConfig) -> dict[str, Any]:
    """What config.json says of the data set, if there is one; what the user is to know of it goes to stderr."""
    tokenizer = load_tokenizer(config)
    source = make_source(config, tokenizer)
    if isinstance(source, Judged):
        check_held_out(source, config)
        for note in [*plain_notes(tokenizer), *source.notes]:
            print(f"entrostat: warning: {note}", file=sys.stderr)
    return {"data": source.record} if isinstance(source, Judged) else {}


def check_held_out(source: ProblemSource, config: TrainConfig) -> None:
    """ValueError where there are fewer problems than the run scores, chooses a temperature or measures entropy on."""
    if config.eval_problems:
        held_out(source, config.eval_problems)
    if config.temperatures:
        to_choose(source, config.eval_problems, config.eval_split)
    try:
        if config.probe_every:
            held_out(source, PROBE_PROMPTS)
    except ValueError as error:
        raise ValueError(
            f"--probe-every takes {PROBE_PROMPTS} held-out problems: leave it out ({error})"
        ) from None


def _same_source(
    config: TrainConfig, tokenizer: Any, run: Run, watcher: Watcher
) -> ProblemSource:
    """The run's source. ValueError where it is not what it was when the run was made."""
    source = make_source(config, tokenizer)
    if isinstance(source, Judged):
        began = run.config.get("data") or {}
        if differ := source.differences(began):
            raise ValueError(
                f"{source.name} is not what it was when {run.path} began ({differ}): the run can't be continued"
            )
        source.note, source.resume = watcher.note, run.resume
    return source


def _label(config: TrainConfig, method: Method) -> str:
    """What the run is called, beside others: its method, and where there is a critic, its options."""
    chosen = [
        f"{name} {value}"
        for name, value in config.critic.items()
        if value != getattr(TrainConfig, name)
    ]
    lora = [f"lora {config.lora_rank}"] if config.lora_rank else []
    return ", ".join(
        [label(method), *(["gae"] if config.critic else []), *chosen, *lora]
    )


def read_run(run: Run) -> tuple[TrainConfig, Method]:
    """The options and the method that a run was made with."""
    try:
        return config_from_json(run.config), from_json(run.config["strategy"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{run.path / 'config.json'} lacks or misnames {error}: the run can't be continued"
        ) from None


def on_verifier_error(run: Run, told: OnError) -> None:
    """Changes what a run that has not ended does about it. ValueError where it has no verifier, or is in training."""
    if run.summary is None:
        config_from_json({**run.config, "on_verifier_error": told})
        run.change(on_verifier_error=told)


def train(
    run: Run,
    watcher: Watcher | None = None,
    *,
    parent: int | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any] | None:
    """Starts the run or goes on with it, to its end: its summary, or None where Ctrl-C stopped it.

    `parent` is the process that waits for this one; the run stops, resumable, when that one is gone.
    `ranks` are the processes that share the run: each calls this, with its own place among them.
    Raises ValueError for a state that cannot be continued, RewardError from a reward, OSError from a full disk.
    """
    ranks = ranks or Ranks()
    with ranks.holding(run.locked()), _naming_full_disk(run):
        if run.summary is not None:
            return run.summary
        config, method = read_run(run)
        told, parent = watcher or Watcher(), parent or ranks.launcher
        if config.engine == "fast":
            if ranks.size > 1:
                raise ValueError(
                    "--engine fast runs in one process: start it without a launcher, or leave --engine out"
                )
            return train_fast(run, config, method, told, parent)
        return _train(run, config, method, told, parent, ranks)


# what the libraries that write checkpoints say of a write that the disk refuses; torch only says where it stood
_REFUSED_WRITE = re.compile(
    r"no space left|file too large|quota exceeded|unexpected pos|file write failed",
    re.I,
)


@contextlib.contextmanager
def _naming_full_disk(run: Run) -> Iterator[None]:
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


def _train(
    run: Run,
    config: TrainConfig,
    method: Method,
    watcher: Watcher,
    parent: int | None,
    ranks: Ranks,
) -> dict[str, Any] | None:
    share = {"per_device_train_batch_size": ranks.share(config)}
    strategy, objective, overrides, target = recipe(method)
    torch.set_num_threads(config.threads)
    quiet()
    checkpoint = ranks.first(run.rewind)
    model, tokenizer = load_model(config)
    model = placed(model)
    task = _same_source(config, tokenizer, run, watcher)
    start = _score(run, "start", model, tokenizer, task, config, watcher, ranks)
    recorder = _Recorder(run, config, task, watcher, parent, ranks)
    kind, critic = _trainer_kind(config)
    trainer = kind(
        model=model,
        processing_class=tokenizer,
        peft_config=adapters(config),
        reward_funcs=make_reward(
            config.reward, task, config.seed, ranks.rank, ranks.size
        ),
        args=grpo_config(config, run.trainer_folder, {**overrides, **share}),
        train_dataset=_dataset(task, config),
        strategy=strategy,
        objective=objective,
        attribution_share=config.attribution_share,
        dump_every=config.dump_every,
        dump_dir=run.dump_folder,
        **critic,
        callbacks=[_Aim(target, config.updates_per_rollout), recorder]
        if target
        else [recorder],
    )
    recorder.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    with recorder.stop.listening():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if recorder.stopped and trainer.state.global_step < trainer.state.max_steps:
        return None
    model = save(trainer, tokenizer, run, ranks.first)
    end = _score(run, "end", model, tokenizer, task, config, watcher, ranks)
    return ranks.first(lambda: run.finish(start, end))


def _trainer_kind(config: TrainConfig) -> tuple[type[Any], dict[str, Any]]:
    """The trainer that gives the advantages asked for, and its options."""
    if config.advantage == "group":
        return EntropyControlGRPOTrainer, {}
    normalise = "std" if config.scale_rewards == "group" else "mean"
    return EntropyControlPPOTrainer, {"normalise": normalise, **config.critic}


def _score(
    run: Run,
    when: str,
    model,
    tokenizer,
    task: ProblemSource,
    config: TrainConfig,
    watcher: Watcher,
    ranks: Ranks,
) -> dict[str, Any]:
    """The model's scores; rank 0 makes them."""
    batch = ranks.share(config) if config.model else max(config.micro_batch, BATCH)
    draw = drawing(model, tokenizer, task, batch)
    return ranks.first(lambda: scored(run, when, config, task, draw, watcher))
