"""A run on the fast engine, in the same folder as a run of TRL's (entrostat.lab.run).

Each rollout: sample, judge, let the strategy observe, `updates_per_rollout` updates, a
line of metrics. With `--staleness S` rollout k is sampled by the policy as it was before
rollout k - S, as in asynchronous training: the first S + 1 rollouts are all samples of
the base model. With `--staleness-mixed` the prompts of a rollout have ages from 0 to S.

A checkpoint is trainer/checkpoint-K/state.pt: weights, moments, generator, and rollouts
that wait to be trained on.
"""

import functools
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entrostat.clip import ClipBounds, ClipEvents
from entrostat.engines.diverged import diverged
from entrostat.engines.fast import (
    Passed,
    Seen,
    mini_batches,
    optimizer,
    summary,
    update,
)
from entrostat.engines.meter import RegionMeter, Window
from entrostat.engines.qwen2 import Model, load_model, save_model
from entrostat.engines.rollout import Rollout, mapped, of_run
from entrostat.engines.summary import shares_by_age
from entrostat.engines.window import shut
from entrostat.entropy import TokenStats
from entrostat.files import written_whole
from entrostat.lab.config import TrainConfig
from entrostat.lab.control import bounds_of, control
from entrostat.lab.environment import (
    Environment,
    Graded,
    graded,
    joined,
    lab_environment,
    vocabulary_ceiling,
)
from entrostat.lab.evaluate import BATCH, Draw, Samples, held_out_entropy
from entrostat.lab.maps import map_line
from entrostat.lab.methods import Method
from entrostat.lab.run import Run
from entrostat.lab.scoring import scored
from entrostat.lab.watch import Stop
from entrostat.strategies import RolloutSummary

_NOT_COPIED = ("*.safetensors*", "README.md")
"""Files of the first model's folder that do not hold for the trained one."""


def train_fast(
    run: Run, config: TrainConfig, method: Method, stop: Stop
) -> dict[str, Any] | None:
    """Starts the run or goes on with it, to its end: its summary, or None where it was
    stopped before."""
    watcher = stop.watcher
    training = _Training(run, config, method)
    task = training.environment.task
    draw = drawing(training.model, training.environment)
    start = scored(run, "start", config, task, draw, watcher)
    with stop.listening():
        while training.done < config.steps:
            watcher.line(_recorded_rollout(training, draw))
            if training.done in config.eval_at:
                scored(run, str(training.done), config, task, draw, watcher)
            # read once: Ctrl-C may come between two looks
            asked = stop.asked
            if asked or training.done % config.save_every == 0:
                training.save()
            if asked and training.done < config.steps:
                return None
    training.keep_model()
    return run.finish(start, scored(run, "end", config, task, draw, watcher))


def _recorded_rollout(training: "_Training", draw: Draw) -> dict[str, Any]:
    """One rollout and its lines in the run's folder; gives the line of metrics.jsonl."""
    run, config, step = training.run, training.config, training.done
    probed: dict[str, float] = {}
    if config.is_probed(step):
        probed["held_out_entropy"] = held_out_entropy(
            draw,
            training.environment.task,
            temperature=config.temperature,
            seed=step,
        )
    begin = time.perf_counter()
    line = training.rollout() | probed
    run.append("metrics.jsonl", line)
    tokens = training.meter.take_tokens()
    if tokens is not None:
        run.append("response.jsonl", map_line(step, tokens))
    seconds = time.perf_counter() - begin
    run.append("timing.jsonl", {"step": step, "seconds": round(seconds, 4)})
    return line


def drawing(model: Model, environment: Environment) -> Draw:
    """The sampler of a model's first run, for `evaluate_with`."""

    def draw(
        prompts: list[str], samples: int, temperature: float, seed: int
    ) -> Samples:
        generator = torch.Generator(device=model.device).manual_seed(seed)
        at_once = max(1, BATCH // samples)
        texts: list[str] = []
        entropy, tokens = 0.0, 0
        for first in range(0, len(prompts), at_once):
            drawn = environment.sample(
                model,
                prompts[first : first + at_once],
                samples=samples,
                generators=[generator],
                temperature=temperature,
            )
            texts += environment.texts(drawn)
            old = of_run(drawn.old, 0)
            assert old.entropy is not None
            # entropy is 0 where masked
            entropy += float(old.entropy.double().sum())
            tokens += int(drawn.mask.sum())
        return Samples(texts, entropy / max(tokens, 1))

    return draw


class _Training:
    """The state of a run between two rollouts."""

    def __init__(self, run: Run, config: TrainConfig, method: Method):
        self.run = run
        self.config = config
        self.environment, self.source = lab_environment(config.task, config.model)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_model(self.source, device=device)
        self.adam = optimizer(self.model, config.learning_rate)
        self.controller = control(method)
        self.generator = torch.Generator(device=device).manual_seed(config.seed)
        self.meter = RegionMeter()
        self.problems = self.environment.task.problems(
            config.steps * config.prompts, split="train", seed=config.seed
        )
        self.waiting: dict[int, list[Graded]] = {}
        """By number, the rollouts that are sampled, in part at least, and not yet trained
        on; the parts of each, the oldest first."""
        self.done = 0
        """Rollouts that were trained on."""
        self.update = 0
        """Updates of this rollout that were made."""
        checkpoint = run.rewind()
        if checkpoint is not None:
            self._load(checkpoint)

    # Rollouts

    def rollout(self) -> dict[str, Any]:
        """Samples what is due, trains on the oldest rollout that waits, and gives its
        line of metrics.jsonl."""
        config = self.config
        self._sample_what_is_due()
        rollout = joined(self.waiting.pop(self.done), pad=self.model.shape.pad)
        ages = torch.tensor(self._ages(self.done)).repeat_interleave(config.samples)
        tokens = rollout.sampled.mask[0].sum(dim=1).cpu()
        shares = shares_by_age(ages, tokens)
        observed = summary(
            rollout.sampled,
            rollout.advantages[None],
            0,
            group=config.samples,
            progress=self.done / config.steps,
            updates=config.updates_per_rollout,
            ceiling=vocabulary_ceiling(self.model),
            ages=shares if len(shares) > 1 else None,
        )
        self.controller.observe(observed)
        passed = self._updated(rollout)
        line = self._line(rollout, observed, passed)
        self.done += 1
        return line

    def _sample_what_is_due(self) -> None:
        """Samples, by the policy as it is now, its prompts of this rollout and of those
        that come."""
        config = self.config
        last = min(self.done + config.staleness, config.steps - 1)
        for number in range(self.done, last + 1):
            ages, age = self._ages(number), number - self.done
            if age in ages:
                sampled = self._sampled(number, ages.index(age), ages.count(age))
                self.waiting.setdefault(number, []).append(sampled)

    def _ages(self, number: int) -> list[int]:
        """Of each prompt of a rollout, by how many rollouts the policy that samples it is
        behind; the oldest first."""
        config = self.config
        ages = [config.staleness] * config.prompts
        if config.staleness_mixed:
            ages = [prompt % (config.staleness + 1) for prompt in range(config.prompts)]
        # before the first rollout there is no older policy
        return sorted((min(age, number) for age in ages), reverse=True)

    def _sampled(self, number: int, first: int, count: int) -> Graded:
        """`count` prompts of the rollout of this number, from its `first` one on, by the
        policy as it is now."""
        config = self.config
        start = number * config.prompts + first
        return graded(
            self.environment,
            self.model,
            self.problems[start : start + count],
            samples=config.samples,
            temperature=config.temperature,
            reward=config.reward,
            scale_rewards=config.scale_rewards,
            generator=self.generator,
            # random rewards of two parts must differ
            key=f"{config.seed}/{number}" + (f"/{first}" if first else ""),
        )

    def _updated(self, rollout: Graded) -> Passed:
        """The updates on a rollout, in place."""
        config, sampled = self.config, rollout.sampled
        self.update = 0
        passed = update(
            self.model,
            self.adam,
            sampled,
            rollout.advantages[None],
            bounds_of([self.controller], sampled),
            mini_batches(sampled, config.updates_per_rollout, [self.generator]),
            temperature=config.temperature,
            max_grad_norm=config.max_grad_norm,
            objectives=[self.controller.pair],
            see=self._see,
        )
        norm = float(passed.norm)
        if not math.isfinite(norm):
            raise diverged("the norm of a gradient", norm, f"rollout {self.done}")
        return passed

    def _see(self, seen: Seen) -> None:
        """Counts an update's tokens as TRL's engine does."""
        config = self.config
        # there is one run in the batch
        now = of_run(seen.now, 0)
        mask = seen.chosen.mask[0]
        logratio, advantages = seen.logratio[0], seen.advantages[0]
        bounds = ClipBounds(seen.bounds.low[0], seen.bounds.high[0])
        events = ClipEvents(seen.events.low[0], seen.events.high[0])
        # a generator of its own: what is counted must not move the sampler
        draw = random.Random(f"{config.seed}/{self.done}/{self.update}").random()
        full_stats = functools.partial(_at, now) if config.attribution_share else None
        keep = Window(logratio, *bounds) if config.is_mapped(self.done) else None
        self.meter.add(
            now,
            logratio,
            advantages,
            events,
            mask,
            dropped=shut(bounds, advantages, mask),
            sample=torch.tensor(draw),
            share=config.attribution_share,
            full_stats=full_stats,
            keep=keep,
        )
        self.update += 1

    def _line(
        self, rollout: Graded, observed: RolloutSummary, passed: Passed
    ) -> dict[str, Any]:
        """The rollout's line of metrics.jsonl. entropy and target are None where there is
        none; anything else that is not finite is left out."""
        config, step = self.config, self.done
        measured: dict[str, float | None] = {
            "entropy": observed.entropy,
            "entropy_error": observed.entropy_error,
            **self.controller.signals(),
            # one process: its sums are the sums of all
            **self.meter.read(),
            "logratio_rms": float((passed.square / passed.tokens).sqrt()),
            "grad_norm": float(passed.norm) / config.updates_per_rollout,
        }
        line: dict[str, Any] = {
            "step": step,
            "progress": step / config.steps,
            "entropy": None,
            "target": None,
            "reward": float(rollout.rewards.mean()),
        }
        for name, value in measured.items():
            if value is not None and math.isfinite(value):
                line[name] = value
        return line | self._completions(rollout)

    def _completions(self, rollout: Graded) -> dict[str, float]:
        """What is worth logging of the completions, under TRL's definitions."""
        groups = rollout.rewards.view(-1, self.config.samples)
        lengths = rollout.sampled.mask.sum(dim=-1)
        last = (lengths - 1).clamp(min=0)[..., None]
        last_ids = rollout.sampled.completions.gather(-1, last)
        ends = torch.tensor(self.model.shape.ends, device=last_ids.device)
        ended = torch.isin(last_ids, ends)
        return {
            "zero_advantage_groups": float((groups.std(dim=1) == 0).float().mean()),
            "completion_length": float(lengths.float().mean()),
            "truncated": float((~ended).float().mean()),
        }

    # Checkpoints

    def save(self) -> None:
        """Makes a checkpoint the one to go on from, and drops those before it."""
        folder = self.run.trainer_folder / f"checkpoint-{self.done}"
        folder.parent.mkdir(exist_ok=True)
        state = {
            "weights": self.model.weights,
            "adam": self.adam.state_dict(),
            "generator": self.generator.get_state(),
            "waiting": {
                number: [_as_list(part) for part in parts]
                for number, parts in self.waiting.items()
            },
        }
        with written_whole(folder) as aside:
            torch.save(state, aside / "state.pt")
        self.run.commit(folder.name, self.done, self.controller.payload())
        for other in self.run.trainer_folder.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other)

    @torch.no_grad()
    def _load(self, checkpoint: Path) -> None:
        """Takes the state that `save` wrote."""
        state = torch.load(
            checkpoint / "state.pt", map_location=self.model.device, weights_only=True
        )
        # in place: the optimizer holds these tensors
        for name, weight in self.model.weights.items():
            weight.copy_(state["weights"][name])
        self.adam.load_state_dict(state["adam"])
        self.generator.set_state(state["generator"].cpu())
        for number, parts in state["waiting"].items():
            self.waiting[number] = [_from_list(part) for part in parts]
        self.done = self.run.state["rollouts"]
        source = str(self.run.path / "state.json")
        self.controller.load(self.run.state["controller"], source)

    def keep_model(self) -> None:
        """Writes the run's checkpoint/: the trained weights, and beside them the files of
        the model it began from."""
        aside = self.run.clear_aside()
        shutil.copytree(self.source, aside, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        save_model(self.model, 0, aside)
        self.run.rename_aside()


def _at(stats: TokenStats, at: Tensor) -> TokenStats:
    """The statistics (b t) at flat indices, (1 k)."""
    return mapped(stats, lambda values: values.reshape(-1)[at][None])


def _as_list(rollout: Graded) -> list[Any]:
    """A rollout's tensors, flat: torch.load reads no classes of ours."""
    sampled = rollout.sampled
    return [*sampled[:4], *sampled.old, rollout.rewards, rollout.advantages]


def _from_list(parts: list[Any]) -> Graded:
    """The rollout of `_as_list`."""
    prompts, prompt_mask, completions, mask, *old, rewards, advantages = parts
    sampled = Rollout(prompts, prompt_mask, completions, mask, TokenStats(*old))
    return Graded(sampled, rewards, advantages)
