"""Paired branches: what a clip setting alone does to entropy in one rollout.

Two runs that differ in a clip drift apart, and their difference is mostly the noise of
two walks. Here one rollout is trained on several times from one and the same point. A
branch is one such training: the base's, and one for each arm. One rollout goes like
this:

1. The policy samples completions of training problems, and they are graded. With
   `staleness` the samples are those of some rollouts before, as in asynchronous
   training.
2. The same policy samples completions of held-out problems, drawn anew. The states that
   these samples visit are where ln H and KL are taken, before the updates and after.
3. Each branch makes the rollout's updates from the same weights, moments, samples,
   rewards and mini-batches. Only the method differs.
4. ln H is taken for every branch. Its difference to the base's is what the arm does.
5. All branches go on from where the base has come to.

For a pair of one-sided thresholds of one size, `low` and `high`, against no clipping:

    odd part   (low - high) / 2   first order in the step: theorem 1 of 2509.26114
    even part  (low + high) / 2   second order: any clip takes noise away, and with it
                                  a part of the drift

The states of step 2 are those of the policy before the updates: the theorem too speaks
of H(s) with the states' weights held. What a branch's own states add is left out. It is
second order in the step and would cost a multiple of the samples: weights of the
prefix, or samples of each branch with common random numbers, have two to four times the
standard deviation (dev/LOG.md).
"""

import copy
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from entrostat.engines.controller import Controller
from entrostat.engines.fast import mini_batches, optimizer, spread, summary, update
from entrostat.engines.qwen2 import Model, load_model
from entrostat.engines.rollout import Rollout, repeated
from entrostat.lab.control import bounds_of
from entrostat.lab.environment import (
    Environment,
    graded,
    lab_environment,
    vocabulary_ceiling,
)
from entrostat.lab.held_out import HeldOut, on_held_out
from entrostat.lab.point import Point, check_methods

CALIBRATED = 0.1
"""Largest share by which an arm's KL may be off the base's where they are to be
equal."""
PACE_RANGE = (0.25, 4.0)
"""An arm's steps are multiplied by no less and no more."""
MATCHED = 0.02
"""An arm whose KL is off the base's by no larger share is not tried again."""
TRIES = 8
"""A rollout's updates are tried again so often at most."""
_HELD_OUT_SEEDS = 10_000_019
"""Added to a seed for the generator of its held-out samples, which must not depend on
how many numbers the rollouts take."""


class Branch(NamedTuple):
    """What one branch has come to after the rollout's updates.

    The fields stand in the order of rows.jsonl; the last three are not in every record
    of docs/results.
    """

    log_entropy: float
    """This and the next two: as in `held_out.OnHeldOut`."""
    reward: float
    kl: float
    rms: float
    """Root mean square of the log-ratio over the tokens that were trained on."""
    clip_low: float
    """Share of the trained tokens that the clip took on the low side."""
    clip_high: float
    """Share that it took on the high side."""
    pace: float
    """What the steps were multiplied by, to match KL."""
    clip_high_p: float = 0.0
    """Old probability of the tokens that the clip took on the high side: their sum over
    the number of all trained tokens. Over `clip_high` it is their mean."""
    positive: float = 0.0
    """Share of the trained tokens with A > 0: those that the high side could take."""
    positive_p: float = 0.0
    """Their old probability: the sum over the number of all trained tokens."""


class PairedRollout(NamedTuple):
    """A rollout that all branches were trained on: a row of rows.jsonl."""

    seed: int
    rollout: int
    before: float
    """ln H of the policy before it, on the same held-out samples."""
    branches: list[Branch]
    """The base first, then the arms."""
    reward: float = math.nan
    """Mean score of the same samples, which that policy has drawn; nan in a record of
    docs/results that lacks it."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "PairedRollout":
        """From its row. KeyError or TypeError for anything else."""
        branches = [Branch(*numbers) for numbers in record["branches"]]
        reward = record.get("reward", math.nan)
        return cls(
            record["seed"], record["rollout"], record["before"], branches, reward
        )


def measure(
    point: Point, methods: Sequence[Any], seed: int, *, device: str = "cpu"
) -> Iterator[PairedRollout]:
    """One seed: `point.length` rollouts from the model, after its warm-up.

    Args:
        methods: the base first, then the arms.

    Raises:
        ValueError: a method that cannot act, a model that the engine cannot read, or an
            entropy that is not finite.
    """
    controllers = check_methods(methods, point)
    environment, folder = lab_environment(point.task, point.model)
    model = load_model(folder, runs=len(controllers), device=device)
    yield from _Walk(point, environment, model, controllers, seed).rollouts()


class _Walk:
    """One seed's walk along the base. The model has a run per branch, the base's
    first."""

    def __init__(
        self,
        point: Point,
        environment: Environment,
        model: Model,
        controllers: list[Controller],
        seed: int,
    ):
        self.point = point
        self.environment = environment
        self.model = model
        self.controllers = controllers
        self.seed = seed
        self.adam = optimizer(model, point.learning_rate)
        self.generator = torch.Generator(model.device).manual_seed(seed)
        held_out_seed = _HELD_OUT_SEEDS + seed
        self.held_out_generator = torch.Generator(model.device)
        self.held_out_generator.manual_seed(held_out_seed)
        self.waiting: deque[tuple[Rollout, Tensor]] = deque()
        self.paces = torch.ones(model.runs, device=model.device)

    def rollouts(self) -> Iterator[PairedRollout]:
        """The measured ones, in their order; those of the warm-up have numbers under
        0."""
        point = self.point
        for rollout in range(-point.warmup, point.length):
            self.waiting.append(self._sampled(rollout))
            if len(self.waiting) > point.staleness:
                sampled, advantages = self.waiting.popleft()
            else:
                # the first rollouts have nothing older to train on
                sampled, advantages = self.waiting[-1]
            paired = self._paired(rollout, sampled, advantages)
            spread(self.model, self.adam, run=0)
            if rollout >= 0:
                yield paired

    def _sampled(self, rollout: int) -> tuple[Rollout, Tensor]:
        """A rollout of the policy where the branches part, and its advantages, (1
        b)."""
        point = self.point
        done = rollout + point.warmup
        # one draw for the seed, so that its rollouts share no problem while the pool
        # lasts
        drawn = self.environment.task.problems(
            (done + 1) * point.prompts, split="train", seed=self.seed
        )
        rolled = graded(
            self.environment,
            at_run(self.model, 0),
            drawn[-point.prompts :],
            samples=point.samples,
            temperature=point.temperature,
            reward=point.reward,
            scale_rewards=point.scale_rewards,
            generator=self.generator,
            key=f"{self.seed}/{done}",
        )
        return rolled.sampled, rolled.advantages[None]

    def _paired(
        self, rollout: int, sampled: Rollout, advantages: Tensor
    ) -> PairedRollout:
        """Trains every branch on the samples, and measures before and after."""
        point = self.point
        held_out = self._held_out()
        (before,) = on_held_out(at_run(self.model, 0), held_out, point.temperature)
        self._observe(rollout, sampled, advantages)
        batches = mini_batches(sampled, point.updates_per_rollout, [self.generator])
        # in the warm-up only the base matters, and its pace is always 1
        if point.match_kl and rollout >= 0:
            branches = self._matched(sampled, advantages, batches, held_out)
        else:
            branches = self._trained(sampled, advantages, batches, held_out)
        self._check_finite(rollout, branches)
        return PairedRollout(
            self.seed, rollout, before.log_entropy, branches, before.reward
        )

    def _held_out(self) -> HeldOut:
        """Fresh samples of the policy where the branches part."""
        point = self.point
        generator = self.held_out_generator
        drawn = torch.randint(2**31, (1,), generator=generator, device=generator.device)
        task = self.environment.task
        problems = task.problems(point.held_out, split="test", seed=int(drawn))
        prompts = [problem.prompt for problem in problems]
        policy = at_run(self.model, 0)
        samples = self.environment.sample(
            policy,
            prompts,
            samples=point.held_out_samples,
            generators=[generator],
            temperature=point.temperature,
        )
        verdicts = self.environment.verdicts(problems, samples)
        return HeldOut.of(policy, samples, verdicts, point.temperature)

    def _observe(self, rollout: int, sampled: Rollout, advantages: Tensor) -> None:
        """Tells every branch's method of the rollout, as an engine does."""
        point = self.point
        told = summary(
            sampled,
            advantages,
            0,
            group=point.samples,
            progress=max(rollout, 0) / point.length,
            updates=point.updates_per_rollout,
            ceiling=vocabulary_ceiling(self.model),
        )
        for controller in self.controllers:
            controller.observe(told)

    def _trained(
        self,
        sampled: Rollout,
        advantages: Tensor,
        batches: list[Tensor],
        held_out: HeldOut,
    ) -> list[Branch]:
        """Makes every branch's updates; what each has come to."""
        point, runs = self.point, self.model.runs
        everyones = repeated(sampled, runs)
        passed = update(
            self.model,
            self.adam,
            everyones,
            advantages.expand(runs, -1),
            bounds_of(self.controllers, everyones),
            [batch.expand(runs, -1) for batch in batches],
            temperature=point.temperature,
            max_grad_norm=point.max_grad_norm,
            objectives=[controller.pair for controller in self.controllers],
            paces=self.paces if point.match_kl else None,
        )
        # in the order of Branch's fields
        while_training = torch.stack(
            [
                (passed.square / passed.tokens).sqrt(),
                passed.clip_low / passed.tokens,
                passed.clip_high / passed.tokens,
                self.paces.double(),
                passed.clip_high_p / passed.tokens,
                passed.positive / passed.tokens,
                passed.positive_p / passed.tokens,
            ],
            dim=1,
        )
        after = on_held_out(self.model, held_out, point.temperature)
        branches = []
        for measured, numbers in zip(after, while_training.tolist(), strict=True):
            branches.append(Branch(*measured, *numbers))
        return branches

    def _matched(
        self,
        sampled: Rollout,
        advantages: Tensor,
        batches: list[Tensor],
        held_out: HeldOut,
    ) -> list[Branch]:
        """As `_trained`, tried again with other paces until every arm's KL is the
        base's, or as near as `TRIES` and `PACE_RANGE` let it come."""
        start = _kept(self.model, self.adam)
        branches = self._trained(sampled, advantages, batches, held_out)
        for _ in range(TRIES):
            if not self._change_paces(branches):
                break
            _put_back(self.model, self.adam, start)
            branches = self._trained(sampled, advantages, batches, held_out)
        return branches

    def _change_paces(self, branches: list[Branch]) -> bool:
        """Moves the arms' paces towards the base's KL; False where all are as near as
        they can come."""
        changed = False
        least, most = PACE_RANGE
        base, *arms = branches
        for run, arm in enumerate(arms, start=1):
            ratio = max(base.kl, 1e-12) / max(arm.kl, 1e-12)
            # KL grows with the square of the steps
            pace = min(max(arm.pace * math.sqrt(ratio), least), most)
            if abs(ratio - 1) > MATCHED and pace != arm.pace:
                self.paces[run] = pace
                changed = True
        return changed

    def _check_finite(self, rollout: int, branches: list[Branch]) -> None:
        for controller, branch in zip(self.controllers, branches, strict=True):
            if not all(map(math.isfinite, branch)):
                raise ValueError(
                    f"the updates of rollout {rollout} of seed {self.seed} have "
                    f"destroyed the policy under {controller.strategy} (ln H "
                    f"{branch.log_entropy:g}): give a smaller --learning-rate"
                )


class _Kept(NamedTuple):
    """Weights and moments, to be put back."""

    weights: dict[str, Tensor]
    adam: dict[str, Any]


def _kept(model: Model, adam: torch.optim.Optimizer) -> _Kept:
    weights = {name: weight.detach().clone() for name, weight in model.weights.items()}
    return _Kept(weights, copy.deepcopy(adam.state_dict()))


@torch.no_grad()
def _put_back(model: Model, adam: torch.optim.Optimizer, kept: _Kept) -> None:
    for name, weight in model.weights.items():
        weight.copy_(kept.weights[name])
    # the optimizer keeps the very tensors it is given and writes into them
    adam.load_state_dict(copy.deepcopy(kept.adam))


def at_run(model: Model, run: int) -> Model:
    """One run's weights as a model of their own; they are not copied."""
    weights = {}
    for name, weight in model.weights.items():
        weights[name] = weight.detach()[run : run + 1]
    return Model(model.shape, weights)
