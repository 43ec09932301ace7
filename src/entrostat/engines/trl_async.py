"""Per-token clip bounds inside TRL's AsyncGRPOTrainer.

Its loss makes one pass over a packed micro-batch, then reads `self.epsilon_low` and
`self.epsilon_high`. This engine listens to that pass and sets both to tensors before they
are read, and puts them back after the loss: nothing of TRL's is copied. How a token's
numbers flow:

    get_train_dataloader   a batch says which update's weights sampled each token
                           (trl_async_batch.py)
    compute_loss           per micro-batch: TRL's pass gives log-probabilities and
                           entropies; at an update's first one the controller observes;
                           the bounds are set; TRL clips. Per update: what happened is
                           counted (meter.py, staleness.py)
    _sync_weight           a version of the policy is published
    _save_checkpoint, _load_optimizer_and_scheduler
                           the controller's state travels with TRL's checkpoints

A rollout is one optimizer update's batch here. There is no pass of the old policy: the
sampler's log-probabilities are its numbers, of several versions and of another program. So

- the controller is told the entropy of the trainer's own passes over the batch: of the
  update's first micro-batch, under the policy that is updated now, and of those that the
  update before had left, one update older (`RolloutSummary.ages`). Each token counts once,
  and without gradient accumulation all are of age 0.
- bounds are taken from the trainer's current log-probabilities and entropies, without
  gradient. The window stands around a ratio to the sampler, but the mismatch between the
  two programs does not move it.

These methods are private to TRL and may move: trl_async_surface.py lists and checks what
is used of it.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from entrostat.clip import ClipBounds, clip_events
from entrostat.engines.checkpoint import load_controller, save_controller
from entrostat.engines.checks import check_environment
from entrostat.engines.controller import Controller, check_reads
from entrostat.engines.guards import check_finite, check_reached, check_read
from entrostat.engines.measure import PREFIX
from entrostat.engines.meter import RegionMeter
from entrostat.engines.passes import Passes, Threshold
from entrostat.engines.staleness import StalenessMeter
from entrostat.engines.summary import sequence_sums, shares_by_age, summarise
from entrostat.engines.trl_async_batch import Terms, loss_terms, note_versions
from entrostat.engines.trl_async_surface import AsyncGRPOTrainer, Base
from entrostat.engines.window import shut, uncrossed
from entrostat.entropy import TokenStats
from entrostat.strategies import Reads, RolloutSummary, Strategy, make_strategy

_LOSS = "compute_loss"


class Decided(NamedTuple):
    """What a micro-batch's pass gave, and the bounds after it."""

    logprobs: Float[Tensor, "1 n"]
    """Of the policy that is updated now."""
    entropy: Float[Tensor, "1 n"]
    sampler_logprobs: Float[Tensor, "1 n"]
    advantages: Float[Tensor, "1 n"]
    ages: Int[Tensor, "1 n"]
    low: Float[Tensor, "1 n"]
    high: Float[Tensor, "1 n"]


class Measured(NamedTuple):
    """Entropy of a micro-batch, under the policy of its own pass."""

    update: int
    """Updates that had been made."""
    sums: Float[Tensor, "groups columns"]
    """As `sequence_sums`, per prompt, over all ranks."""


class AsyncEntropyControlMixin(Base):
    """Mix into a subclass of AsyncGRPOTrainer, before it:
    `class Mine(AsyncEntropyControlMixin, MyTrainer)`.

    Args:
        strategy: a Strategy, or the name of one with its default options. None: TRL's
            own thresholds stand, and the engine only measures.

    Logged beside TRL's metrics: `entrostat/entropy` (mean token entropy of the policy
    before the update, in nats, token-weighted over all ranks; the states are those that
    older policies have sampled), `entrostat/entropy_error`, the strategy's signals, and
    the keys of `RegionMeter.read` (own terms) and `StalenessMeter.read`.

    Raises:
        ValueError: at construction, the strategy is none, or needs what this trainer's
            passes do not give; at the first use, what it returns is not what a strategy's
            has to be (strategies/check.py).
        RuntimeError: TRL has been rewritten (unsloth) or is not a tested version; in a
            run, what guards.py and trl_async_batch.py stop it for.
    """

    epsilon_low: Any = Threshold()
    epsilon_high: Any = Threshold()
    _passes: Passes | None = None

    def __init__(self, *args: Any, strategy: Strategy | str | None, **kwargs: Any):
        check_environment(type(self))
        if isinstance(strategy, str):
            strategy = make_strategy(strategy)
        # before TRL loads the model
        self.controller = Controller(strategy)
        if strategy is not None:
            check_reads(
                strategy,
                Reads.MEAN_ENTROPY | Reads.TOKEN_ENTROPY,
                "which AsyncGRPOTrainer's passes do not give: use a strategy or a tilt "
                "that reads entropy (tilt='surprisal')",
            )
        super().__init__(*args, **kwargs)
        self.strategy = strategy
        self._meter = RegionMeter(self._sum_over_ranks)
        self._staleness = StalenessMeter(self._sum_over_ranks)
        # the update after which each version of the policy was published
        self._published: dict[int, int] = {}
        # micro-batches of the update at hand
        self._decided: list[Decided] = []
        # what the next observation is made of
        self._measured: list[Measured] = []
        # the update before which the controller has observed last
        self._observed_at: int | None = None
        # whether the micro-batch at hand has come to the loss below
        self._reached = False

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._measured.clear()
        self._decided.clear()
        self._observed_at = None
        return super().train(*args, **kwargs)

    @property
    def controller_state(self) -> Any:
        """The strategy's state."""
        return self.controller.state

    # Versions

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        # the other ranks get their batches from it
        if self.accelerator.is_main_process:
            by_prompts = self._epoch_stop_groups is not None
            progress = self._share_of_prompts if by_prompts else None
            note_versions(loader, self._published, progress)
        return loader

    def _share_of_prompts(self) -> float:
        """Prompts trained on over those that end the run, in [0, 1)."""
        assert self._epoch_stop_groups is not None
        trained = self._groups_before_resume + len(self._trained_groups)
        # batches are fetched ahead of the update that ends the run
        return min(trained / self._epoch_stop_groups, 1 - 1e-6)

    def _sync_weight(self) -> None:
        super()._sync_weight()
        self._published[self.model_version] = self.state.global_step

    # The loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self._reached = False
        loss = super().training_step(*args, **kwargs)
        check_reached(self, self._reached, loss=_LOSS)
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self._reached = True
        name = type(self).__name__
        terms = loss_terms(inputs, self.state.global_step, name)
        with self._listening(model, terms) as (passes, decided):
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        if not decided:
            raise RuntimeError(
                f"{name}.compute_loss makes no pass over its batch that entrostat can "
                "see: call super().compute_loss"
            )
        check_read(self, passes.read, self.strategy is not None, loss=_LOSS)
        check_finite(self, loss, decided[0].entropy)
        self._decided += decided
        # an update's micro-batches are counted at once: its sums over ranks cost more
        # than what they sum
        if self.accelerator.sync_gradients:
            self._count(_joined(self._decided))
            self._decided.clear()
        return loss

    @contextlib.contextmanager
    def _listening(
        self, model: nn.Module, terms: Terms
    ) -> Iterator[tuple[Passes, list[Decided]]]:
        """Inside, the policy's first pass sets the bounds. Gives who has read them, and
        what the pass gave."""
        decided: list[Decided] = []
        passes, own = Passes(), (self.epsilon_low, self.epsilon_high)

        def decide(_module: nn.Module, _args: Any, output: Any) -> None:
            # not a later pass of somebody's own, nor one without the fused head
            if decided or getattr(output, "log_probs", None) is None:
                return
            now = _at_terms(output, terms)
            self._observe(now, terms)
            bounds = self._bounds(now, terms)
            assert now.entropy is not None
            told = terms.sampler_logprobs, terms.advantages, terms.ages
            decided.append(Decided(now.logprobs, now.entropy, *told, *bounds))
            if self.strategy is not None:
                self.epsilon_low, self.epsilon_high = bounds.low[0], bounds.high[0]
            # what was read before was not ours
            self._passes = passes

        hook = model.register_forward_hook(decide)
        try:
            yield passes, decided
        finally:
            hook.remove()
            self._passes = None
            self.epsilon_low, self.epsilon_high = own

    def _bounds(self, now: TokenStats, terms: Terms) -> ClipBounds:
        """What TRL's thresholds are to be; its own without a strategy."""
        if self.strategy is None:
            own = (self.epsilon_low, self.epsilon_high)
            return ClipBounds(*(torch.full_like(now.logprobs, side) for side in own))
        every = torch.ones_like(terms.advantages, dtype=torch.bool)
        return uncrossed(self.controller.bounds(now, every), terms.advantages, every)

    # The controller

    def _observe(self, now: TokenStats, terms: Terms) -> None:
        """Measures a micro-batch, and tells the controller before an update's first
        one. Every rank takes part."""
        update = self.state.global_step
        sums = self._sum_over_ranks(_group_sums(now, terms)).cpu()
        self._measured.append(Measured(update, sums[sums[:, 0] > 0]))
        if self._observed_at == update:
            return
        self._observed_at = update
        progress = terms.progress
        if progress is None:
            progress = update / self.state.max_steps
        summary = _summary(self._measured, update, progress, math.log(self._vocabulary))
        self._measured.clear()
        self.controller.observe(summary)
        logged = {
            "entropy": summary.entropy,
            "entropy_error": summary.entropy_error,
            **self.controller.signals(),
        }
        self._log_later(logged)

    @property
    def _vocabulary(self) -> int:
        inner = self.accelerator.unwrap_model(self.model)
        return inner.config.get_text_config().vocab_size

    # What happened

    @torch.no_grad()
    def _count(self, all_: Decided) -> None:
        """Counts an update's tokens. Every rank takes part."""
        stats, advantages = TokenStats(all_.logprobs, all_.entropy), all_.advantages
        logratio = all_.logprobs - all_.sampler_logprobs
        events = clip_events(logratio, advantages, low=all_.low, high=all_.high)
        every = torch.ones_like(events.low)
        dropped = shut(ClipBounds(all_.low, all_.high), advantages, every)
        self._meter.add(stats, logratio, advantages, events, every, dropped=dropped)
        for_ratio = (events.low | events.high) & ~dropped
        self._staleness.add(logratio, all_.ages, for_ratio)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._log_later({**self._meter.read(), **self._staleness.read()})
        super().log(logs, start_time)

    def _log_later(self, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._metrics["train"][PREFIX + name].append(value)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="sum")

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        measured = [[each.update, each.sums.tolist()] for each in self._measured]
        save_controller(self, trial, self.controller, measured=measured)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        kind = "EntropyControlAsyncGRPOTrainer"
        payload = load_controller(checkpoint, self.controller, kind)
        for update, sums in payload.get("measured", []):
            sums = torch.tensor(sums, dtype=torch.float64)
            self._measured.append(Measured(update, sums))


def _joined(decided: list[Decided]) -> Decided:
    """Several micro-batches as one."""
    columns = zip(*decided, strict=True)
    return Decided(*(torch.cat(column, dim=1) for column in columns))


def _at_terms(output: Any, terms: Terms) -> TokenStats:
    """A pass's statistics at the loss terms, (1 n), without gradient."""
    logprobs = output.log_probs.detach().flatten()[terms.position]
    entropy = output.entropy.detach().flatten()[terms.position]
    return TokenStats(logprobs[None].float(), entropy[None].float())


def _group_sums(now: TokenStats, terms: Terms) -> Float[Tensor, "groups columns"]:
    """`sequence_sums` per prompt, of this rank; zeros for one that has no token here."""
    assert now.entropy is not None
    # each token a sequence of its own
    tokens = TokenStats(now.logprobs.T, now.entropy.T)
    every = torch.ones_like(tokens.logprobs, dtype=torch.bool)
    # float64, since a prompt may have 100,000 tokens
    per_token = sequence_sums(tokens, terms.advantages.T, every).double()
    sums = per_token.new_zeros(terms.most_groups, per_token.shape[1])
    return sums.index_add_(0, terms.groups, per_token)


def _summary(
    measured: list[Measured], update: int, progress: float, ceiling: float
) -> RolloutSummary:
    """What the controller is told before this update."""
    sums = torch.cat([each.sums for each in measured])
    ages = [torch.full((len(each.sums),), update - each.update) for each in measured]
    return summarise(
        sums,
        group=1,
        progress=progress,
        updates=1,
        ceiling=ceiling,
        ages=shares_by_age(torch.cat(ages), sums[:, 0].cpu()),
    )


class EntropyControlAsyncGRPOTrainer(AsyncEntropyControlMixin, AsyncGRPOTrainer):
    """TRL's AsyncGRPOTrainer, plus `strategy=`: clip bounds per token, set by a strategy.
    See AsyncEntropyControlMixin."""
