"""A run on the fast engine, in the same folder as a run of TRL's (entrostat.lab.run).

Each rollout: sample, judge, let the strategy observe, `updates_per_rollout` updates, a line of metrics. With
`--staleness S` rollout k is sampled by the policy as it was before rollout k - S, as asynchronous trainers do it: the
first S + 1 rollouts are all samples of the base model.

A checkpoint is trainer/checkpoint-K/state.pt: weights, moments, generator, and rollouts that wait to be trained on.
"""

import functools
import math
import random
import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entrostat.engines.fast import (
    Rollout,
    Seen,
    mapped,
    mini_batches,
    of_run,
    optimizer,
    summary,
    update,
)
from entrostat.engines.meter import RegionMeter, Window
from entrostat.engines.qwen2 import Model, load_model, save_model
from entrostat.engines.window import shut
from entrostat.entropy import TokenStats
from entrostat.files import written_whole
from entrostat.lab.config import TrainConfig
from entrostat.lab.control import bounds_of, control
from entrostat.lab.environment import (
    Environment,
    Graded,
    graded,
    lab_environment,
    vocabulary_ceiling,
)
from entrostat.lab.evaluate import BATCH, Draw, Samples, held_out_entropy
from entrostat.lab.maps import map_line
from entrostat.lab.methods import Method
from entrostat.lab.run import Run
from entrostat.lab.scoring import scored
from entrostat.lab.watch import Stop, Watcher

_NOT_COPIED = ("*.safetensors*", "README.md")
"""Files of the first model's folder that do not hold for the trained one."""


def train_fast(
    run: Run, config: TrainConfig, method: Method, watcher: Watcher, parent: int | None
) -> dict[str, Any] | None:
    """Starts the run or goes on with it, to its end: its summary, or None where it was stopped before."""
    torch.set_num_threads(config.threads)
    training = _Training(run, config, method)
    task, draw = (
        training.environment.task,
        drawing(training.model, training.environment),
    )
    start = scored(run, "start", config, task, draw, watcher)
    stop = Stop(watcher, parent)
    with stop.listening():
        while training.done < config.steps:
            probed = _probe(draw, training)
            begin = time.perf_counter()
            line = training.rollout() | probed
            run.append("metrics.jsonl", line)
            tokens = training.meter.take_tokens()
            if tokens is not None:
                run.append("response.jsonl", map_line(training.done - 1, tokens))
            seconds = time.perf_counter() - begin
            run.append(
                "timing.jsonl", {"step": line["step"], "seconds": round(seconds, 4)}
            )
            watcher.line(line)
            if training.done in config.eval_at:
                scored(run, str(training.done), config, task, draw, watcher)
            asked = stop.asked
            if asked or training.done % config.save_every == 0:
                training.save()
            if asked and training.done < config.steps:
                return None
    training.keep_model()
    return run.finish(start, scored(run, "end", config, task, draw, watcher))


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
            chunk = prompts[first : first + at_once]
            drawn = environment.sample(
                model,
                chunk,
                samples=samples,
                generators=[generator],
                temperature=temperature,
            )
            texts += environment.texts(drawn)
            old = of_run(drawn.old, 0)
            assert old.entropy is not None
            entropy += float(old.entropy.double().sum())  # 0 where masked
            tokens += int(drawn.mask.sum())
        return Samples(texts, entropy / max(tokens, 1))

    return draw


def _probe(draw: Draw, training: "_Training") -> dict[str, float]:
    """Entropy on the fixed held-out prompts, where this rollout measures it."""
    config, task = training.config, training.environment.task
    if not config.probe_every or training.done % config.probe_every:
        return {}
    entropy = held_out_entropy(
        draw, task, temperature=config.temperature, seed=training.done
    )
    return {"held_out_entropy": entropy}


def _at(stats: TokenStats, at: Tensor) -> TokenStats:
    """The statistics (b t) at flat indices, (1 k)."""
    return mapped(stats, lambda x: x.reshape(-1)[at][None])


class _Training:
    """The state of a run between two rollouts."""

    def __init__(self, run: Run, config: TrainConfig, method: Method):
        self.run, self.config = run, config
        self.environment, self.source = lab_environment(config.task, config.model)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_model(self.source, device=device)
        self.adam = optimizer(self.model, config.learning_rate)
        self.control = control(method)
        self.generator = torch.Generator(device=device).manual_seed(config.seed)
        self.meter = RegionMeter()
        task = self.environment.task
        self.problems = task.problems(
            config.steps * config.prompts, split="train", seed=config.seed
        )
        self.waiting: deque[Graded] = deque()
        self.done, self.drawn, self.update = 0, 0, 0
        checkpoint = run.rewind()
        if checkpoint is not None:
            self._load(checkpoint)

    def rollout(self) -> dict[str, Any]:
        """Samples what is due, trains on the oldest rollout that waits, and gives its line of metrics.jsonl."""
        config, step = self.config, self.done
        while self.drawn < min(step + config.staleness + 1, config.steps):
            self.waiting.append(self._sampled(self.drawn))
            self.drawn += 1
        rolled = self.waiting.popleft()
        sampled, advantages = rolled.sampled, rolled.advantages[None]
        told = summary(
            sampled,
            advantages,
            0,
            group=config.samples,
            progress=step / config.steps,
            updates=config.updates_per_rollout,
            ceiling=vocabulary_ceiling(self.model),
        )
        self.control.observe(told)
        self.update = 0
        passed = update(
            self.model,
            self.adam,
            sampled,
            advantages,
            bounds_of([self.control], sampled),
            mini_batches(sampled, config.updates_per_rollout, [self.generator]),
            temperature=config.temperature,
            max_grad_norm=config.max_grad_norm,
            objectives=[self.control.pair],
            see=self._see,
        )
        self.done += 1
        known = {
            "entropy": told.entropy,
            "entropy_error": told.entropy_error,
            **self.control.signals(),
        }
        known |= self.meter.read(lambda sums: sums)
        known |= {
            "logratio_rms": float((passed.square / passed.tokens).sqrt()),
            "grad_norm": float(passed.norm) / config.updates_per_rollout,
        }
        line = {
            "step": step,
            "progress": step / config.steps,
            "entropy": None,
            "target": None,
        }
        line |= {"reward": float(rolled.rewards.mean())}
        line |= {
            name: value
            for name, value in known.items()
            if value is not None and math.isfinite(value)
        }
        return line | self._completions(rolled)

    def _sampled(self, rollout: int) -> Graded:
        """The rollout of this number, by the policy as it is now."""
        config, count = self.config, self.config.prompts
        problems = self.problems[rollout * count :][:count]
        return graded(
            self.environment,
            self.model,
            problems,
            samples=config.samples,
            temperature=config.temperature,
            reward=config.reward,
            scale_rewards=config.scale_rewards,
            generator=self.generator,
            key=f"{config.seed}/{rollout}",
        )

    def _completions(self, rolled: Graded) -> dict[str, float]:
        groups = rolled.rewards.view(-1, self.config.samples)
        lengths = rolled.sampled.mask.sum(dim=-1).float()
        last = rolled.sampled.completions.gather(
            -1, (lengths.long() - 1).clamp(min=0)[..., None]
        )
        ended = torch.isin(
            last, torch.tensor(self.model.shape.ends, device=last.device)
        )
        return {
            "zero_advantage_groups": float((groups.std(dim=1) == 0).float().mean()),
            "completion_length": float(lengths.mean()),
            "truncated": float((~ended).float().mean()),
        }

    def _see(self, seen: Seen) -> None:
        """Counts an update's tokens as TRL's engine does."""
        config = self.config
        now, mask = of_run(seen.now, 0), seen.chosen.mask[0]
        logratio, advantages = seen.logratio[0], seen.advantages[0]
        bounds = type(seen.bounds)(*(side[0] for side in seen.bounds))
        events = type(seen.events)(*(side[0] for side in seen.events))
        kept = bool(config.map_every) and self.done % config.map_every == 0
        self.meter.add(
            now,
            logratio,
            advantages,
            events,
            mask,
            dropped=shut(bounds, advantages, mask),
            sample=torch.tensor(
                random.Random(f"{config.seed}/{self.done}/{self.update}").random()
            ),
            share=config.attribution_share,
            full_stats=functools.partial(_at, now)
            if config.attribution_share
            else None,
            keep=Window(logratio, *bounds) if kept else None,
        )
        self.update += 1

    # Checkpoints

    def save(self) -> None:
        """Makes a checkpoint the one to go on from, and drops those before it."""
        folder = self.run.trainer_folder / f"checkpoint-{self.done}"
        folder.parent.mkdir(exist_ok=True)
        waiting = [
            [*each.sampled[:4], *each.sampled.old, each.rewards, each.advantages]
            for each in self.waiting
        ]
        state = {
            "weights": self.model.weights,
            "adam": self.adam.state_dict(),
            "generator": self.generator.get_state(),
            "drawn": self.drawn,
            "waiting": waiting,
        }
        with written_whole(folder) as aside:
            torch.save(state, aside / "state.pt")
        self.run.commit(folder.name, self.done, self.control.payload())
        for other in self.run.trainer_folder.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other)

    @torch.no_grad()
    def _load(self, checkpoint: Path) -> None:
        source = self.run.path / "state.json"
        state = torch.load(
            checkpoint / "state.pt", map_location=self.model.device, weights_only=True
        )
        for name, weight in self.model.weights.items():
            weight.copy_(state["weights"][name])
        self.adam.load_state_dict(state["adam"])
        self.generator.set_state(state["generator"].cpu())
        self.drawn, self.done = state["drawn"], self.run.state["rollouts"]
        for *parts, found, advantages in state["waiting"]:
            prompts, prompt_mask, completions, mask, *old = parts
            sampled = Rollout(prompts, prompt_mask, completions, mask, TokenStats(*old))
            self.waiting.append(Graded(sampled, found, advantages))
        self.control.load(self.run.state["controller"], str(source))

    def keep_model(self) -> None:
        """Writes the run's checkpoint/: the trained weights, and beside them the files of the model it began from."""
        aside = self.run.clear_aside()
        shutil.copytree(self.source, aside, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        save_model(self.model, 0, aside)
        self.run.rename_aside()
