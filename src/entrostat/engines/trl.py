"""Per-token clip bounds inside TRL's GRPOTrainer.

TRL reads `self.epsilon_low` and `self.epsilon_high` at each micro-batch, in its clamp and
in its clip metrics. This engine sets them to (b t) tensors around TRL's own
`_compute_loss` and puts them back after it: TRL's loss, aggregation and metrics run
unchanged, and nothing of them is copied. How a token's numbers flow:

    _generate_and_score_completions   once per rollout: the old policy's statistics are
                                      taken, and the controller observes them
    _compute_loss                     per micro-batch: bounds are set, TRL computes the
                                      loss, an objective adds its term, and what happened
                                      (passes.py) is counted (measure.py) and dumped
                                      (dump.py)
    _save_checkpoint, _load_optimizer_and_scheduler
                                      the controller's state travels with TRL's
                                      checkpoints

These methods are private to TRL and may move, so TRL is pinned, and trl_surface.py lists
and checks everything that is used of it.
"""

import contextlib
import inspect
import logging
import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from entrostat.clip import ClipBounds
from entrostat.engines.batch import (
    loss_weighted,
    sequences,
    token_advantages,
    trained_tokens,
)
from entrostat.engines.checkpoint import load_controller, save_controller
from entrostat.engines.checks import (
    check_can_act,
    check_environment,
    check_steps,
    updates_per_rollout,
)
from entrostat.engines.controller import Controller
from entrostat.engines.dropout import dropout_warning
from entrostat.engines.guards import (
    check_finite,
    check_reached,
    check_read,
    check_same_completions,
    check_sampled_once,
    explaining,
)
from entrostat.engines.lm_head import completion_stats
from entrostat.engines.measure import PREFIX, MeasureMixin
from entrostat.engines.passes import Pass
from entrostat.engines.rewards import guarded
from entrostat.engines.summary import sequence_sums, summarise
from entrostat.engines.trl_surface import (
    GRPOTrainer,
    disable_gradient_checkpointing,
)
from entrostat.engines.window import uncrossed
from entrostat.entropy import TokenStats
from entrostat.mismatch import mismatch, mismatch_sums
from entrostat.objectives import LossInputs, Objective
from entrostat.strategies import Reads, RolloutSummary, Strategy, make_strategy

LOGGER = logging.getLogger(__name__)
# What we add to a rollout: TRL shuffles and splits it along with its own tensors.
_SEEN = "entrostat_seen"
_OLD_LOGPROBS = "entrostat_old_logps"
_OLD_STATS = {
    "entropy": "entrostat_old_entropy",
    "sum_p2": "entrostat_old_sum_p2",
    "sum_p2_logp": "entrostat_old_sum_p2_logp",
}


class EntropyControlMixin(MeasureMixin):
    """Mix into a subclass of GRPOTrainer, before it:
    `class Mine(EntropyControlMixin, MyTrainer)`.

    Args:
        strategy: a Strategy, or the name of one with its default options. None: TRL's
            own thresholds and loss stand, whatever the loss type, and the engine only
            measures.
        objective: a loss term to add, aggregated over the trained tokens as loss type
            dapo does, with the weights that TRL gives them where vLLM has sampled.
            top_entropy_quantile and off-policy masks are not applied to it; one that
            replaces the loss of some tokens refuses them.
        attribution_share: as MeasureMixin.
        dump_every, dump_dir: as DumpMixin.

    Logged beside TRL's metrics: `entrostat/entropy` (mean token entropy of the sampler
    over the rollout before its updates, in nats, token-weighted over all ranks), the
    strategy's and the objective's signals, what MeasureMixin logs, and where vLLM samples
    the keys of `mismatch`.

    Raises:
        ValueError: at construction, the strategy is none, or cannot act in this
            configuration; at the first use, what it returns is not what a strategy's has
            to be (strategies/check.py).
        RuntimeError: TRL has been rewritten (unsloth) or is not a tested version; in a
            run, what guards.py and passes.py stop it for.
    """

    def __init__(
        self,
        *args: Any,
        strategy: Strategy | str | None,
        objective: Objective | None = None,
        **kwargs: Any,
    ):
        check_environment(type(self))
        if isinstance(strategy, str):
            strategy = make_strategy(strategy)
        # before TRL loads the model
        self.controller = Controller(strategy, objective)
        super().__init__(*args, **kwargs)
        check_can_act(self.args, strategy, objective, images=self._is_vlm)
        self.strategy = strategy
        self.objective = objective
        self.reward_funcs = [
            function if isinstance(function, nn.Module) else guarded(function)
            for function in self.reward_funcs
        ]
        # the micro-batch before which the last rollout was observed
        self._observed_at: int | None = None
        # whether the micro-batch at hand has come to the loss below
        self._reached = False

    def train(self, *args: Any, **kwargs: Any) -> Any:
        check_steps(self.args)
        self._observed_at = None
        warning = dropout_warning(self.args, self.model)
        if warning and self.accelerator.is_main_process:
            LOGGER.warning(warning)
        return super().train(*args, **kwargs)

    @property
    def controller_state(self) -> Any:
        """The strategy's state."""
        return self.controller.state

    @property
    def objective_state(self) -> Any:
        """The objective's state."""
        return self.controller.objective_state

    # The rollout

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        with self._recording() as passes, explaining(self):
            output = super()._generate_and_score_completions(inputs)
        stats = self._take_old_stats(output, passes.made)
        # a copy: whoever replaces completions may write into TRL's own tensor
        output[_SEEN] = output["completion_ids"].clone()
        if self.model.training:
            self._observe(stats, output)
        return output

    def _take_old_stats(self, output: dict[str, Any], passes: list[Pass]) -> TokenStats:
        """Statistics of the old policy, which are put into the rollout too.

        Args:
            passes: those that TRL has made over the rollout.
        """
        stored = output.get("old_per_token_logps")
        # TRL may run the reference model too. The old pass is the one whose very tensor
        # it hands on.
        old = next((made for made in passes if made.logprobs is stored), None)
        # ranks of a sharded model make their passes together
        if self._largest(int(old is None)):
            made = self._old_pass(output)
            old = made if old is None else old
        assert old is not None
        if stored is None:
            output[_OLD_LOGPROBS] = old.logprobs
        stats = TokenStats(old.logprobs, old.entropy)
        if Reads.VOCABULARY_SUMS in self.controller.reads:
            sums = self._vocabulary_sums(output)
            stats = sums._replace(logprobs=old.logprobs, entropy=old.entropy)
        for name, key in _OLD_STATS.items():
            values = getattr(stats, name)
            if values is not None:
                output[key] = values
        return stats

    def _largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        own = torch.tensor([number], device=self.accelerator.device)
        return int(self.accelerator.gather(own).max())

    def _old_pass(self, output: dict[str, Any]) -> Pass:
        """The pass over the rollout that TRL saves where every ratio is exactly 1."""
        method = GRPOTrainer._get_per_token_logps_and_entropies
        parameters = inspect.signature(method).parameters
        # images and the like, under the names that TRL's method takes them by
        multimodal = {key: value for key, value in output.items() if key in parameters}
        args = self.args
        batch_size = args.per_device_train_batch_size
        if not self.model.training:
            batch_size = args.per_device_eval_batch_size
        with (
            torch.no_grad(),
            self._no_checkpointing(),
            self._recording() as passes,
        ):
            self._get_per_token_logps_and_entropies(
                self.model, *sequences(output), batch_size=batch_size, **multimodal
            )
        return passes.made[0]

    def _vocabulary_sums(self, output: dict[str, Any]) -> TokenStats:
        ids, attention, width = sequences(output)
        with self._no_checkpointing():
            return completion_stats(
                self.model,
                ids,
                attention,
                width,
                self.temperature,
                vocabulary=self._vocabulary,
                most=self.args.per_device_train_batch_size,
                widest=self._largest(width),
            )

    def _no_checkpointing(self) -> contextlib.AbstractContextManager[Any]:
        """Passes without gradient need no gradient checkpointing; TRL does the same."""
        return disable_gradient_checkpointing(
            self.model, self.args.gradient_checkpointing_kwargs
        )

    @property
    def _vocabulary(self) -> int:
        return self._inner(self.model).config.get_text_config().vocab_size

    def _observe(self, old: TokenStats, output: dict[str, Any]) -> None:
        check_sampled_once(self, self._observed_at)
        self._observed_at = self._step
        summary = self._summary(old, output)
        self.controller.observe(summary)
        logged = {
            "entropy": summary.entropy,
            "entropy_error": summary.entropy_error,
            **self.controller.signals(),
            **self._mismatch(old, output),
        }
        for name, value in logged.items():
            if value is not None and math.isfinite(value):
                self._metrics["train"][PREFIX + name].append(value)

    def _summary(self, old: TokenStats, output: dict[str, Any]) -> RolloutSummary:
        """The rollout's means over the trained tokens of all ranks."""
        advantages = loss_weighted(token_advantages(output), output)
        sums = sequence_sums(old, advantages, trained_tokens(output))
        return summarise(
            self.accelerator.gather(sums),
            group=self.num_generations,
            progress=self.state.global_step / self.state.max_steps,
            updates=updates_per_rollout(self.args),
            ceiling=math.log(self._vocabulary),
        )

    def _mismatch(self, old: TokenStats, output: dict[str, Any]) -> dict[str, float]:
        """Of the rollout's sampler; empty where the trainer's own passes have sampled."""
        sampler_logprobs = output.get("sampling_per_token_logps")
        if sampler_logprobs is None:
            return {}
        # TRL makes NaN of a number that vLLM has not
        mask = trained_tokens(output) & sampler_logprobs.isfinite()
        sums = mismatch_sums(old.logprobs - sampler_logprobs, mask)
        return mismatch(self._sum_over_ranks(sums))

    # The loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self._reached = False
        loss = super().training_step(*args, **kwargs)
        check_reached(self, self._reached)
        return loss

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        self._reached = True
        advantages, mask = token_advantages(inputs), trained_tokens(inputs)
        check_same_completions(self, inputs, inputs.get(_SEEN), mask)
        old = _old_stats(inputs)
        bounds = self._bounds(old, advantages, mask)
        with self._thresholds(bounds), self._recording() as passes:
            loss = super()._compute_loss(model, inputs)
        check_read(self, passes.read, bounds is not None)
        ids, _, _ = sequences(inputs)
        now = passes.of_loss(ids, type(self).__name__)
        # without stored ones TRL takes the current policy for the old one, and so do we
        stored = inputs.get("old_per_token_logps")
        old_logprobs = now.logprobs.detach() if stored is None else stored
        logratio = now.logprobs - old_logprobs
        if self.objective is not None:
            given = LossInputs(
                now.logprobs, logratio, advantages, old, now.entropy, mask
            )
            loss = loss + self._correction(given, inputs)
        if self.model.training:
            check_finite(self, loss, torch.where(mask, now.entropy, 0.0))
            self._measure(model, inputs, now, passes, old, logratio.detach(), bounds)
        return loss

    def _bounds(
        self,
        old: TokenStats,
        advantages: Float[Tensor, "b #t"],
        mask: Bool[Tensor, "b t"],
    ) -> ClipBounds | None:
        """What TRL's thresholds are to be; None leaves its own."""
        if self.strategy is None:
            return None
        bounds = self.controller.bounds(old, mask)
        if self.importance_sampling_level == "sequence":
            # One ratio per sequence. Only a strategy whose bounds are all alike is let
            # through to here, so any column says it.
            bounds = ClipBounds(bounds.low[:, :1], bounds.high[:, :1])
            mask = mask.any(dim=1, keepdim=True)
        return uncrossed(bounds, advantages, mask)

    @contextlib.contextmanager
    def _thresholds(self, bounds: ClipBounds | None) -> Iterator[None]:
        """Inside, TRL's loss reads these bounds."""
        own = self.epsilon_low, self.epsilon_high
        if bounds is not None:
            self.epsilon_low, self.epsilon_high = bounds
        try:
            yield
        finally:
            self.epsilon_low, self.epsilon_high = own

    def _correction(self, given: LossInputs, batch: dict[str, Any]) -> Tensor:
        """The objective's term: its sum over trained tokens, normalised as by TRL's loss
        type dapo."""
        term = loss_weighted(self.controller.correction(given), batch)
        total = torch.where(given.mask, term, 0.0).sum()
        return total / window_tokens(self, batch)

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        save_controller(self, trial, self.controller)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            kind = "EntropyControlGRPOTrainer"
            load_controller(checkpoint, self.controller, kind)


def _old_stats(batch: dict[str, Any]) -> TokenStats:
    """The old policy's statistics, as they came with a micro-batch."""
    logprobs = batch.get("old_per_token_logps")
    if logprobs is None:
        logprobs = batch[_OLD_LOGPROBS]
    given = {name: batch.get(key) for name, key in _OLD_STATS.items()}
    return TokenStats(logprobs, **given)


def window_tokens(trainer: Any, batch: dict[str, Any]) -> Float[Tensor, ""]:
    """What TRL's loss type dapo divides its sum over tokens by, at each rank.

    `num_items_in_batch` counts the trained tokens of a generation batch over all ranks.
    In training it is scaled to one accumulation window.
    """
    tokens = batch["num_items_in_batch"].clamp(min=1.0)
    tokens = tokens / trainer.accelerator.num_processes
    if not trainer.model.training:
        return tokens
    micro_batches = trainer.current_gradient_accumulation_steps
    return tokens * micro_batches / trainer.args.steps_per_generation


class EntropyControlGRPOTrainer(EntropyControlMixin, GRPOTrainer):
    """TRL's GRPOTrainer, plus `strategy=`: clip bounds per token, set by a strategy. See
    EntropyControlMixin."""
