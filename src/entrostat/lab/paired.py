"""Paired branches: what a clip setting alone does to entropy in one rollout, from one and the same point.

Two runs that differ in a clip drift apart, and their difference is mostly the noise of two walks. Here a rollout is
trained on several times, each time from the same weights, moments, samples, rewards and mini-batches: once by the base
method and once by each arm. ln H of every branch is taken on the same fresh held-out samples, and the difference to the
base is what the arm does in one rollout. Then all branches go on from where the base has come to.

For a pair of one-sided thresholds of one size, `low` and `high`, against no clipping:

    odd part   s = (low - high) / 2    what theorem 1 of arXiv 2509.26114 speaks of: first order in the step
    even part  c = (low + high) / 2    second order: any clip takes noise away, and with it a part of the drift

ln H and KL are taken in the states that the policy before the rollout visits, on held-out samples of its own: the
theorem too speaks of H(s) with the states' weights held. What a branch's own states add is left out. It is second order
in the step and costs a multiple of the samples: weights of the prefix or samples of each branch with common random
numbers have two to four times the standard deviation (dev/LOG.md). KL is exact over the vocabulary, old policy first.

A rollout may be stale: sampled by the policy of `staleness` rollouts before, as asynchronous trainers have it.
"""

import copy
import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from entrostat.engines.controller import Controller
from entrostat.engines.fast import (
    Passed,
    Rollout,
    logits_on,
    mini_batches,
    optimizer,
    repeated,
    spread,
    summary,
    update,
)
from entrostat.engines.qwen2 import Model, load_model
from entrostat.lab.blind import check_reward
from entrostat.lab.control import bounds_of, control
from entrostat.lab.environment import (
    Environment,
    graded,
    lab_environment,
    vocabulary_ceiling,
)
from entrostat.lab.methods import label
from entrostat.objectives import OBJECTIVES, Objective
from entrostat.strategies import STRATEGIES, Strategy, make_strategy

_OFF = make_strategy("grpo", low=1.0, high=math.inf)
CALIBRATED = 0.1
"""Largest share by which an arm's KL may be off the base's where they are to be equal."""
PACE_RANGE = (0.25, 4.0)
MATCHED, TRIES = 0.02, 8
"""A rollout's updates are tried again until each arm's KL is so near the base's, so often at most."""


@dataclasses.dataclass(frozen=True)
class Point:
    """Where the measurement is made: a task, a model, and how it is trained."""

    task: str = "countdown"
    """Task of the lab."""
    model: str = ""
    """Folder of a Qwen2 or Llama model with its tokenizer, such as a run's checkpoint; empty for the task's own."""
    reward: str = "bernoulli:0.5"
    """true (the task's verifier), bernoulli:P or normal (random, blind to the answer)."""
    scale_rewards: Literal["group", "none"] = "none"
    """Divide advantages by the group's standard deviation, or not (2509.26114)."""
    prompts: int = 16
    """Prompts a rollout."""
    samples: int = 16
    """Completions of each prompt."""
    updates_per_rollout: int = 8
    """Optimizer steps on each rollout."""
    learning_rate: float = 1e-4
    """AdamW, constant."""
    temperature: float = 1.0
    """Of the sampler; entropy is that of this sampler."""
    max_grad_norm: float = 1.0
    """Gradient norm is cut to this."""
    staleness: int = 0
    """Rollouts that the sampling policy is behind."""
    length: int = 16
    """Rollouts measured from one start: then the next seed begins at the model again."""
    warmup: int = 4
    """Rollouts before them, which give the optimizer its moments and are not measured."""
    held_out: int = 64
    """Held-out prompts that entropy is measured on, drawn anew for each rollout."""
    held_out_samples: int = 4
    """Completions of each."""
    match_kl: bool = False
    """Stretch each arm's steps until its KL is the base's, anew in each rollout: its updates are tried a few times."""

    def __post_init__(self):
        check_reward(self.reward)
        for name in (
            "updates_per_rollout",
            "prompts",
            "length",
            "held_out",
            "held_out_samples",
        ):
            _at_least(name, getattr(self, name), 1)
        _at_least("samples", self.samples, 2)
        for name in ("staleness", "warmup"):
            _at_least(name, getattr(self, name), 0)
        if self.staleness > self.warmup:
            raise ValueError(
                f"--staleness {self.staleness} takes a --warmup of as many rollouts, got {self.warmup}: the first ones "
                "have nothing older to train on"
            )
        if self.reward.startswith("bernoulli:") and float(
            self.reward.removeprefix("bernoulli:")
        ) in (0.0, 1.0):
            raise ValueError(
                f"--reward {self.reward} is the same for all completions, so that no update moves anything"
            )
        for name in ("learning_rate", "temperature", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be over 0, got {getattr(self, name)}"
                )
        if self.prompts * self.samples % self.updates_per_rollout:
            raise ValueError(
                f"--updates-per-rollout {self.updates_per_rollout} must divide the {self.prompts * self.samples} "
                f"completions of a rollout (--prompts {self.prompts} x --samples {self.samples})"
            )


class Branch(NamedTuple):
    """What one branch has come to after the rollout's updates."""

    log_entropy: float
    """ln of the mean token entropy, nats, on held-out samples."""
    reward: float
    """Mean of the verifier's score on held-out samples, by self-normalised importance weights of whole samples."""
    kl: float
    """Of the old policy from this one, nats a token, on held-out samples."""
    rms: float
    """Root mean square of the log-ratio over the tokens that were trained on."""
    clip_low: float
    """Share of the trained tokens that the clip took on the low side."""
    clip_high: float
    pace: float
    """What the steps were multiplied by, to match KL."""
    clip_high_p: float = 0.0
    """Old probability of the tokens that the clip took on the high side, summed, over all trained tokens; over
    clip_high it is their mean."""
    positive: float = 0.0
    """Share of the trained tokens with A > 0: those that the high side could take."""
    positive_p: float = 0.0
    """Their old probability, summed, over all trained tokens."""


class Row(NamedTuple):
    """A rollout that all branches were trained on."""

    seed: int
    rollout: int
    before: float
    """ln H of the policy before it, on the same held-out samples."""
    branches: list[Branch]
    """The base first, then the arms."""


def check(point: Point, methods: Sequence[Any]) -> None:
    """What can be known before the first rollout: methods, tokenizer, held-out problems and model. ValueError."""
    check_methods(methods, point)
    environment, folder = lab_environment(point.task, point.model)
    environment.task.problems(point.held_out, split="test", seed=0)
    try:
        load_model(folder)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a file that is damaged, a config that lacks something
        raise ValueError(
            f"no whole model in {folder} ({type(error).__name__}: {error})"
        ) from None


def check_methods(methods: Sequence[Any], point: Point) -> list[Controller]:
    """The methods as the engine runs them. ValueError for fewer than two, and for one that could do nothing."""
    if len(methods) < 2:
        raise ValueError(
            f"a measurement takes a base and at least one arm, got {len(methods)} method"
        )
    for method in methods:
        if not isinstance(method, Strategy | Objective):
            raise ValueError(
                f"only TRL's trainer has the loss of {label(method)}: a measurement takes {', '.join(STRATEGIES)} and "
                f"{', '.join(f'objective:{name}' for name in OBJECTIVES)}"
            )
    controls = [control(method) for method in methods]
    for each in controls:
        assert each.strategy is not None
        idle = (
            point.updates_per_rollout == 1
            and not point.staleness
            and not each.strategy.acts_on_fresh
        )
        clips = each.strategy != _OFF
        if idle and clips and each.objective is None:
            raise ValueError(
                f"{each.strategy} cannot act: with one update on a fresh rollout every ratio is exactly 1; "
                "set --updates-per-rollout to 2 or more, or --staleness to 1 or more"
            )
    return controls


def measure(
    point: Point, methods: Sequence[Any], seed: int, *, device: str = "cpu"
) -> Iterator[Row]:
    """The rows of one seed: `point.length` rollouts from the model, after its warm-up. The first method is the base.

    Raises:
        ValueError: a method that cannot act, a model that the engine cannot read, an entropy that is not finite.
    """
    controls = check_methods(methods, point)
    environment, folder = lab_environment(point.task, point.model)
    model = load_model(folder, runs=len(controls), device=device)
    yield from _Measurement(point, environment, model, controls, seed).rows()


class _HeldOut(NamedTuple):
    """Samples of held-out problems by the policy before the updates."""

    rollout: Rollout
    logp: Tensor
    """(1 b t v): that policy, over the vocabulary."""
    verdicts: Tensor
    """(b,)"""


class _Measurement:
    """One seed's walk along the base, a rollout at a time."""

    def __init__(
        self,
        point: Point,
        environment: Environment,
        model: Model,
        controls: list[Controller],
        seed: int,
    ):
        self.point, self.environment, self.model, self.controls, self.seed = (
            point,
            environment,
            model,
            controls,
            seed,
        )
        self.adam = optimizer(model, point.learning_rate)
        self.generator = torch.Generator(device=model.device).manual_seed(seed)
        self.held_generator = torch.Generator(device=model.device).manual_seed(
            10_000_019 + seed
        )
        self.waiting: deque[tuple[Rollout, Tensor]] = deque()
        self.paces = torch.ones(model.runs, device=model.device)

    def rows(self) -> Iterator[Row]:
        point = self.point
        for rollout in range(-point.warmup, point.length):
            fresh = self._sampled(rollout)
            self.waiting.append(fresh)
            if len(self.waiting) <= point.staleness:
                stale, advantages = fresh  # nothing older is there yet
            else:
                stale, advantages = self.waiting.popleft()
            row = self._branches(rollout, stale, advantages)
            spread(self.model, self.adam, run=0)
            if rollout >= 0:
                yield row

    def _sampled(self, rollout: int) -> tuple[Rollout, Tensor]:
        """A rollout of the policy where the branches part, and its advantages, (1 b)."""
        point = self.point
        count, offset = point.prompts, rollout + point.warmup
        # one draw for the seed, so that its rollouts share no problem as long as the pool lasts
        drawn = self.environment.task.problems(
            (offset + 1) * count, split="train", seed=self.seed
        )
        problems = drawn[-count:]
        rolled = graded(
            self.environment,
            at_run(self.model, 0),
            problems,
            samples=point.samples,
            temperature=point.temperature,
            reward=point.reward,
            scale_rewards=point.scale_rewards,
            generator=self.generator,
            key=f"{self.seed}/{offset}",
        )
        return rolled.sampled, rolled.advantages[None]

    def _branches(self, rollout: int, sampled: Rollout, advantages: Tensor) -> Row:
        point = self.point
        held = self._held_out()
        (before, _, _), *_ = _measured(at_run(self.model, 0), held, point.temperature)
        told = summary(
            sampled,
            advantages,
            0,
            group=point.samples,
            progress=max(rollout, 0) / point.length,
            updates=point.updates_per_rollout,
            ceiling=vocabulary_ceiling(self.model),
        )
        for each in self.controls:
            each.observe(told)
        rows = mini_batches(sampled, point.updates_per_rollout, [self.generator])
        matching = point.match_kl and rollout >= 0  # before, the base alone matters
        start = _kept(self.model, self.adam) if matching else None
        passed, after = self._pass(sampled, advantages, rows, held)
        for _ in range(TRIES):
            if start is None or not self._moved([kl for _, _, kl in after]):
                break
            _put_back(self.model, self.adam, start)
            passed, after = self._pass(sampled, advantages, rows, held)
        row = Row(self.seed, rollout, before, self._told(passed, after))
        for each, branch in zip(self.controls, row.branches, strict=True):
            if not all(map(math.isfinite, branch)):
                raise ValueError(
                    f"the updates of rollout {rollout} of seed {self.seed} have destroyed the policy under "
                    f"{each.strategy} (ln H {branch.log_entropy:g}): give a smaller --learning-rate"
                )
        return row

    def _pass(
        self, sampled: Rollout, advantages: Tensor, rows: list[Tensor], held: _HeldOut
    ) -> tuple[Passed, list[tuple[float, float, float]]]:
        """Every branch's updates on the rollout, and what is measured after them."""
        runs = self.model.runs
        everyones = repeated(sampled, runs)
        passed = update(
            self.model,
            self.adam,
            everyones,
            advantages.expand(runs, -1),
            bounds_of(self.controls, everyones),
            [part.expand(runs, -1) for part in rows],
            temperature=self.point.temperature,
            max_grad_norm=self.point.max_grad_norm,
            objectives=[each.pair for each in self.controls],
            paces=self.paces if self.point.match_kl else None,
        )
        return passed, _measured(self.model, held, self.point.temperature)

    def _told(
        self, passed: Passed, after: list[tuple[float, float, float]]
    ) -> list[Branch]:
        rms = (passed.square / passed.tokens).sqrt()
        sums = (
            passed.clip_low,
            passed.clip_high,
            passed.clip_high_p,
            passed.positive,
            passed.positive_p,
        )
        low, high, *others = (each / passed.tokens for each in sums)
        passes = torch.stack(
            [rms, low, high, self.paces.to(rms), *others], dim=1
        ).tolist()
        return [
            Branch(*measured, *each)
            for measured, each in zip(after, passes, strict=True)
        ]

    def _held_out(self) -> _HeldOut:
        point, task = self.point, self.environment.task
        key = int(
            torch.randint(
                2**31, (1,), generator=self.held_generator, device=self.model.device
            )
        )
        problems = task.problems(point.held_out, split="test", seed=key)
        first = at_run(self.model, 0)
        rollout = self.environment.sample(
            first,
            [problem.prompt for problem in problems],
            samples=point.held_out_samples,
            generators=[self.held_generator],
            temperature=point.temperature,
        )
        with torch.no_grad():
            logp = (logits_on(first, rollout) / point.temperature).log_softmax(dim=-1)
        return _HeldOut(
            rollout,
            logp,
            self.environment.verdicts(problems, rollout).to(self.model.device),
        )

    def _moved(self, kl: list[float]) -> bool:
        """Moves the arms' paces towards the base's KL, which grows with the square of the steps; False at the goal."""
        moved = False
        for run in range(1, len(kl)):
            ratio = max(kl[0], 1e-12) / max(kl[run], 1e-12)
            pace = float(self.paces[run]) * math.sqrt(ratio)
            pace = min(max(pace, PACE_RANGE[0]), PACE_RANGE[1])
            if abs(ratio - 1) > MATCHED and pace != float(self.paces[run]):
                self.paces[run], moved = pace, True
        return moved


def _kept(
    model: Model, adam: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and moments, to be put back."""
    weights = {name: weight.detach().clone() for name, weight in model.weights.items()}
    return weights, copy.deepcopy(adam.state_dict())


@torch.no_grad()
def _put_back(
    model: Model,
    adam: torch.optim.Optimizer,
    kept: tuple[dict[str, Tensor], dict[str, Any]],
) -> None:
    for name, weight in model.weights.items():
        weight.copy_(kept[0][name])
    adam.load_state_dict(
        copy.deepcopy(kept[1])
    )  # which keeps what it is given, and writes into it


def at_run(model: Model, run: int) -> Model:
    """One run's weights as a model of their own; they are not copied."""
    return Model(
        model.shape,
        {
            name: weight.detach()[run : run + 1]
            for name, weight in model.weights.items()
        },
    )


@torch.no_grad()
def _measured(
    model: Model, held: _HeldOut, temperature: float
) -> list[tuple[float, float, float]]:
    """Of each run: ln H and mean reward on the held-out samples, and KL from the policy that drew them."""
    everyones = repeated(held.rollout, model.runs)
    mask = everyones.mask
    logp = (logits_on(model, everyones) / temperature).log_softmax(dim=-1)
    entropy = _mean(-(logp.exp() * logp).sum(dim=-1), mask)
    kl = _mean((held.logp.exp() * (held.logp - logp)).sum(dim=-1), mask)
    taken = logp.gather(-1, everyones.completions[..., None])[..., 0]
    logratio = torch.where(mask, taken - everyones.old.logprobs, 0.0)
    # their scale cancels; less the largest none overflows
    logweight = logratio.double().sum(dim=-1)
    weight = (logweight - logweight.amax(dim=1, keepdim=True)).exp()
    reward = (weight * held.verdicts).sum(dim=1) / weight.sum(dim=1)
    return list(zip(entropy.log().tolist(), reward.tolist(), kl.tolist(), strict=True))


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the trained tokens of each run, (n,) float64."""
    return torch.where(mask, values, 0.0).double().sum(dim=(1, 2)) / mask.sum(
        dim=(1, 2)
    )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(
            f"--{name.replace('_', '-')} must be at least {least}, got {value}"
        )
