"""What bench/regime_gpu.py runs: its blocks, and whole runs side by side in the fast engine."""

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from entrostat.advantage import group_advantages
from entrostat.clip import ClipBounds
from entrostat.engines import fast
from entrostat.engines.controller import Controller
from entrostat.engines.qwen2 import Model, load_model
from entrostat.engines.rollout import Rollout, of_run
from entrostat.lab.blind import random_rewards
from entrostat.lab.control import control
from entrostat.lab.environment import Environment, vocabulary_ceiling
from entrostat.lab.tasks import Problem, ProblemSource
from entrostat.objectives import Objective
from entrostat.strategies import Strategy, make_strategy
from entrostat.strategies.static import Grpo, Static

NONE = "none"
"""The arm without a clip, which the others of its block are compared with."""
EPS = (0.2, 0.05, 0.0125)
"""Sizes of the one-sided thresholds of paired branches."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's, by its names."""
SEQUENCES = 65_535
"""As many fit into one call of torch's attention on CUDA before torch 2.8."""


@dataclasses.dataclass(frozen=True)
class Size:
    """What decides on the numbers: a folder holds those of one size."""

    prompts: int = 512
    samples: int = 8
    updates: int = 16
    seeds: int = 6
    random_rollouts: int = 200
    true_rollouts: int = 60
    paired_rollouts: int = 8
    """Measured from each seed's start, behind `warmup` that are not."""
    warmup: int = 3
    held_out: int = 256
    rates: tuple[float, float] = (2.5e-5, 1e-4)
    """AdamW's, constant: of the first three blocks, and of the last two."""
    scale: Literal["group", "none"] = "group"
    """Of the advantages under the true reward; under random ones they are R - mean."""

    def __post_init__(self):
        if self.prompts * self.samples % self.updates:
            raise ValueError(
                f"--updates {self.updates} must divide the {self.prompts * self.samples} sequences of a rollout"
            )


TOY = Size(4, 4, 2, 2, random_rollouts=2, true_rollouts=2, paired_rollouts=2, warmup=1, held_out=4)


class Block(NamedTuple):
    """A set of runs that are compared with each other."""

    kind: Literal["random", "paired", "true"]
    rate: float
    arms: Mapping[str, Strategy | Objective]
    rollouts: int
    """Of a run, or of a seed's paired branches."""
    weight: float
    """Its part of the time, beside the others' that are not whole yet."""
    task: str = "countdown"

    @property
    def name(self) -> str:
        return f"{self.kind} at {self.rate:g}"

    @property
    def reward(self) -> str:
        return "true" if self.kind == "true" else "bernoulli:0.5"


def blocks(size: Size) -> list[Block]:
    """All of them, the most important first."""
    first, second = size.rates
    off = Grpo(low=1.0, high=math.inf)
    each = {eps: (Grpo(low=eps, high=math.inf), Grpo(low=1.0, high=eps)) for eps in EPS}
    sides = {eps: {f"low {eps} alone": low, f"high {eps} alone": high} for eps, (low, high) in each.items()}
    static = {NONE: off, **sides[0.2], "0.2/0.2": Grpo()}
    pairs = {NONE: off, **{name: arm for found in sides.values() for name, arm in found.items()}}
    other = {
        NONE: off,
        "0.2/0.2": Grpo(),
        "0.2/inf": Grpo(high=math.inf),
        "1/0.2": Grpo(low=1.0),
        "0.15/inf": make_strategy("clip-lower"),
        "id": make_strategy("id"),
        "thermostat": make_strategy("thermostat", target="0.8x", hold="both"),
    }
    return [
        Block("random", first, static, size.random_rollouts, 0.3),
        Block("paired", first, pairs, size.paired_rollouts, 0.1),
        Block("true", first, other, size.true_rollouts, 0.4),
        Block("random", second, static, size.random_rollouts, 0.15),
        Block("paired", second, pairs, size.paired_rollouts, 0.05),
    ]


class Remembering(ProblemSource):
    """A task that verifies an answer to a problem once: runs that start at one model say the same things."""

    def __init__(self, task: ProblemSource):
        self.task, self.name, self.max_completion = task, task.name, task.max_completion
        self.known: dict[tuple[str, str], float] = {}

    def problems(self, n, *, split, seed):
        return self.task.problems(n, split=split, seed=seed)

    def score(self, problem: Problem, completion: str) -> float:
        key = problem.key, completion
        if key not in self.known:
            self.known[key] = self.task.score(problem, completion)
        return self.known[key]


@dataclasses.dataclass
class Batch:
    """Runs that are trained side by side."""

    runs: list[tuple[str, int]]
    """The arm and the seed of each."""
    model: Model
    adam: torch.optim.Optimizer
    controls: list[Controller]
    fixed: ClipBounds
    """(n 1 1): the bounds of the runs whose arm is static."""
    generators: list[torch.Generator]


class Walk:
    """The runs of a block, at one rollout."""

    def __init__(
        self, block: Block, size: Size, environment: Environment, model: Path, device: torch.device, at_once: int
    ):
        self.block, self.size, self.environment, self.rollout = block, size, environment, 0
        self.cost: dict[str, float] = {"sampling": 0.0, "rewards": 0.0, "updates": 0.0}
        """Seconds."""
        seeds = range(size.seeds)
        drawn = block.rollouts * size.prompts
        self.problems = {seed: environment.task.problems(drawn, split="train", seed=seed) for seed in seeds}
        runs = [(arm, seed) for seed in seeds for arm in block.arms]
        count = math.ceil(len(runs) / at_once)
        each = math.ceil(len(runs) / count)
        parts = [runs[start : start + each] for start in range(0, len(runs), each)]
        self.batches = [self._batch(part, model, device) for part in parts]

    def _batch(self, runs: list[tuple[str, int]], folder: Path, device: torch.device) -> Batch:
        model = load_model(folder, runs=len(runs), device=device)
        controls = [control(self.block.arms[arm]) for arm, _ in runs]
        static = [each.strategy if isinstance(each.strategy, Static) else Grpo() for each in controls]
        sides = ([each.low for each in static], [each.high for each in static])
        fixed = ClipBounds(*(torch.tensor(side, device=device)[:, None, None] for side in sides))
        generators = [torch.Generator(device=device) for _ in runs]
        return Batch(runs, model, fast.optimizer(model, self.block.rate), controls, fixed, generators)

    def state(self) -> dict[str, Any]:
        """What `restore` takes, also a walk whose runs are in other batches."""
        weights = {name: _joined([b.model.weights[name].detach() for b in self.batches]) for name in self._names}
        moments = {
            name: {key: _joined([b.adam.state[b.model.weights[name]][key] for b in self.batches]) for key in MOMENTS}
            for name in self._names
        }
        controls = [each.payload() for batch in self.batches for each in batch.controls]
        return {
            "rollout": self.rollout,
            "cost": self.cost,
            "weights": weights,
            "moments": moments,
            "controls": controls,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a state, between two rollouts."""
        self.rollout, self.cost = state["rollout"], state["cost"]
        # on the CPU, where AdamW has it: on a GPU each update would ask for it
        steps = torch.tensor(float(self.rollout * self.size.updates))
        start = 0
        for batch in self.batches:
            here = slice(start, start + len(batch.runs))
            start = here.stop
            for name, weight in batch.model.weights.items():
                weight.copy_(state["weights"][name][here])
                found = {key: state["moments"][name][key][here].to(weight.device).clone() for key in MOMENTS}
                batch.adam.state[weight] = {"step": steps.clone(), **found}
            for each, payload in zip(batch.controls, state["controls"][here], strict=True):
                each.load(payload, "the checkpoint")

    @property
    def _names(self) -> list[str]:
        return list(self.batches[0].model.weights)

    def step(self) -> list[dict[str, Any]]:
        """One rollout of every run, and its rows."""
        rows = [row for batch in self.batches for row in self._step(batch)]
        self.rollout += 1
        return rows

    def _step(self, batch: Batch) -> list[dict[str, Any]]:
        device, start = batch.model.device, time.perf_counter()
        ids, mask = self._prompts(batch)
        taken = fast.sample(
            batch.model,
            ids.to(device),
            mask.to(device),
            samples=self.size.samples,
            most=self.environment.task.max_completion,
            generators=self._generators(batch, 0),
        )
        sampled = self._passed("sampling", start, device)
        rewards = self._rewards(batch, taken)
        scale = self.size.scale if self.block.kind == "true" else "none"
        gains = group_advantages(rewards.flatten(), self.size.samples, scale=scale)
        advantages = gains.view_as(rewards).to(device)
        rewarded = self._passed("rewards", sampled, device)
        bounds = self._bounds(batch, taken, advantages)
        rows = fast.mini_batches(taken, self.size.updates, self._generators(batch, 1))
        objectives = [each.pair for each in batch.controls]
        passed = fast.update(batch.model, batch.adam, taken, advantages, bounds, rows, objectives=objectives)
        entropy = taken.old.entropy
        assert entropy is not None
        means = [
            entropy.double().sum(dim=(1, 2)) / taken.mask.sum(dim=(1, 2)),
            passed.clip_low / passed.tokens,
            passed.clip_high / passed.tokens,
            (passed.square / passed.tokens).sqrt(),
            passed.norm / self.size.updates,
        ]
        columns = [rewards.double().mean(dim=1), *torch.stack(means).cpu()]  # the one transfer of a batch's numbers
        self._passed("updates", rewarded, device)
        names = ("reward", "entropy", "clip_low", "clip_high", "rms", "norm")
        values = zip(*(column.tolist() for column in columns), strict=True)
        return [
            {"block": self.block.name, "arm": arm, "seed": seed, "rollout": self.rollout}
            | {name: value if math.isfinite(value) else None for name, value in zip(names, found, strict=True)}
            for (arm, seed), found in zip(batch.runs, values, strict=True)
        ]

    def _passed(self, what: str, since: float, device: torch.device) -> float:
        """Notes the seconds of a stage; the time at its end."""
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.cost[what] += now - since
        return now

    def _generators(self, batch: Batch, stage: int) -> list[torch.Generator]:
        """Set by seed, rollout and stage alone: the same for all arms, and nothing that a checkpoint must hold."""
        for generator, (_, seed) in zip(batch.generators, batch.runs, strict=True):
            generator.manual_seed((seed << 20) + 2 * self.rollout + stage)
        return batch.generators

    def _now(self, seed: int) -> list[Problem]:
        start = self.rollout * self.size.prompts
        return self.problems[seed][start : start + self.size.prompts]

    def _prompts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n q p): those of each run's seed, all to one width."""
        texts = [problem.prompt for seed in self.problems for problem in self._now(seed)]
        places = torch.tensor([seed for _, seed in batch.runs])
        ids, mask = (x.unflatten(0, (len(self.problems), -1)) for x in self.environment.spelling.encode(texts))
        return ids[places], mask[places]

    def _rewards(self, batch: Batch, taken: Rollout) -> Tensor:
        """(n b)."""
        if self.block.kind == "true":
            here = taken._replace(completions=taken.completions.cpu(), mask=taken.mask.cpu())
            seeds = enumerate(seed for _, seed in batch.runs)
            return torch.stack([self.environment.verdicts(self._now(seed), here, run) for run, seed in seeds])
        count = taken.mask.shape[1]
        keys = {seed: f"{self.block.reward}/{seed}/{self.rollout}" for seed in self.problems}
        drawn = {seed: torch.tensor(random_rewards(self.block.reward, count, key)) for seed, key in keys.items()}
        return torch.stack([drawn[seed] for _, seed in batch.runs])

    def _bounds(self, batch: Batch, taken: Rollout, advantages: Tensor) -> ClipBounds:
        """Those of static arms are known; only the others are told of the rollout."""
        moving = []
        for run, each in enumerate(batch.controls):
            if each.objective is not None or not isinstance(each.strategy, Static):
                moving.append(run)
        if not moving:
            return batch.fixed
        low, high = (side.expand_as(taken.old.logprobs).clone() for side in batch.fixed)
        known = {
            "group": self.size.samples,
            "progress": self.rollout / self.block.rollouts,
            "updates": self.size.updates,
            "ceiling": vocabulary_ceiling(batch.model),
        }
        for run in moving:
            control = batch.controls[run]
            control.observe(fast.summary(taken, advantages, run, **known))
            low[run], high[run] = control.bounds(of_run(taken.old, run), taken.mask[run])
        return ClipBounds(low, high)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([x.cpu() for x in parts])
