"""Callbacks of TRL's trainer: what writes the run's folder as it goes, and what moves the
entropy that TRL itself aims at."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from entrostat.engines.trl import PREFIX, EntropyControlMixin
from entrostat.lab.context import Context, score
from entrostat.lab.evaluate import drawing, held_out_entropy
from entrostat.lab.maps import map_line
from entrostat.lab.rewards import UNSCORED
from entrostat.schedule import Schedule

_OURS = PREFIX + "clip_low"
"""Only the log of a rollout has this key: TRL logs a summary of the whole run too."""
_TRLS = {
    "zero_advantage_groups": "frac_reward_zero_std",
    "completion_length": "completions/mean_length",
    "truncated": "completions/clipped_ratio",
    "grad_norm": "grad_norm",
}
"""Keys of metrics.jsonl, and TRL's names for them."""


class Aim(TrainerCallback):
    """Moves the entropy that TRL's own controller aims at along its schedule, and logs it
    as the run's target."""

    def __init__(self, target: Schedule, updates: int):
        self.target = target
        self.updates = updates

    def on_step_begin(self, args, state, control, **_):
        """A step is one optimizer step: the target stays through a rollout's updates."""
        rollouts = state.global_step // self.updates
        progress = rollouts * self.updates / state.max_steps
        args.entropy_target = self.target(progress, rollouts)

    def on_log(self, args, state, control, logs=None, **_):
        if logs and _OURS in logs:
            logs[PREFIX + "target"] = args.entropy_target


class Recorder(TrainerCallback):
    """Writes the run's folder as TRL goes, and turns Ctrl-C into a checkpoint at the end
    of the rollout."""

    def __init__(self, context: Context, trainer: EntropyControlMixin):
        self.context = context
        self.trainer = trainer
        self.stopped = False
        """Whether the run was stopped after a rollout, resumable."""
        self._probed: dict[str, float] = {}
        self._clock = time.perf_counter()

    def on_step_begin(self, args, state, control, model: Any = None, **_):
        """Before an update: what this rollout is to be watched for. All ranks are here."""
        config = self.context.config
        rollout, update = self.context.rollout_of(state.global_step)
        self.trainer.keep_tokens = config.is_mapped(rollout)
        if update:
            return
        self._probed = {}
        if config.is_probed(rollout):
            with self._off_the_clock():
                self._probed = {"held_out_entropy": self._probe(model, rollout)}

    def _probe(self, model: Any, rollout: int) -> float:
        """Entropy on the fixed held-out prompts; rank 0 measures it."""
        context = self.context
        draw = drawing(model, context.tokenizer, context.task, context.sampled_at_once)
        temperature = context.config.temperature
        return context.ranks.first(
            lambda: held_out_entropy(
                draw, context.task, temperature=temperature, seed=rollout
            )
        )

    @contextlib.contextmanager
    def _off_the_clock(self) -> Iterator[None]:
        """What is done inside does not count as time of training."""
        begin = time.perf_counter()
        yield
        self._clock += time.perf_counter() - begin

    def on_log(self, args, state, control, logs=None, **_):
        """After a rollout's last update: its lines. All ranks give their tokens, and the
        first writes."""
        if not logs or _OURS not in logs:
            return
        run, config, ranks = self.context.run, self.context.config, self.context.ranks
        tokens = ranks.gather_tokens(self.trainer.take_tokens())
        if not ranks.is_first:
            return
        done, _update = self.context.rollout_of(state.global_step)
        step = done - 1
        line = metrics_line(step, config.steps, logs) | self._probed
        run.append("metrics.jsonl", line)
        if tokens is not None:
            run.append("response.jsonl", map_line(step, tokens))
        now = time.perf_counter()
        seconds = round(now - self._clock, 4)
        run.append("timing.jsonl", {"step": step, "seconds": seconds})
        self._clock = now
        self.context.stop.watcher.line(line)

    def on_step_end(self, args, state, control, model: Any = None, **_):
        """After a rollout's last update: scores, and the stop that was asked for."""
        context = self.context
        rollouts, update = context.rollout_of(state.global_step)
        if update:
            return control
        if rollouts in context.config.eval_at:
            with self._off_the_clock():
                score(context, str(rollouts), model)
        # asked of all: they must stop after the same rollout
        self.stopped = context.ranks.any(context.stop.asked)
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_save(self, args, state, control, **_):
        """After a checkpoint of the trainer's: makes it the one to resume from."""
        ranks = self.context.ranks
        # the checkpoint is whole when each rank has written its part
        ranks.any(False)
        if not ranks.is_first:
            return
        checkpoint = get_last_checkpoint(str(args.output_dir))
        assert checkpoint is not None
        rollouts, _update = self.context.rollout_of(state.global_step)
        controller = self.trainer.controller.payload()
        self.context.run.commit(Path(checkpoint).name, rollouts, controller)


def metrics_line(step: int, steps: int, logs: dict[str, float]) -> dict[str, Any]:
    """A line of metrics.jsonl from TRL's log of one rollout. The first keys are in all
    lines; what was not measured is None."""
    ours = {}
    for name, value in logs.items():
        if name.startswith(PREFIX):
            ours[name.removeprefix(PREFIX)] = value
    line: dict[str, Any] = {
        "step": step,
        "progress": step / steps,
        "entropy": ours.pop("entropy", None),
        "target": None,
        "reward": logs.get("reward"),
    }
    line |= ours
    for name, key in _TRLS.items():
        line[name] = logs.get(key)
    for name in ("entropy_coef", UNSCORED):
        if name in logs:
            line[name] = logs[name]
    return line
