"""Per-token clip bounds inside TRL's GRPOTrainer.

TRL reads `self.epsilon_low` and `self.epsilon_high` at each micro-batch, in its clamp and in its clip metrics. This
engine sets them to (b t) tensors around TRL's own `_compute_loss` and puts them back after it: TRL's loss, aggregation
and metrics run unchanged, and nothing of them is copied. It overrides four private methods, each calling super:

    _generate_and_score_completions     once a rollout: takes the old policy's statistics, lets the controller observe
    _get_per_token_logps_and_entropies  keeps the per-token tensors that TRL computes anyway
    _compute_loss                       sets the bounds, calls TRL's, restores, adds the objective's term, counts
    _save_checkpoint, _load_optimizer_and_scheduler   the controller's state travels with TRL's checkpoints

Private methods move, so TRL is pinned to the versions on which the parity tests have run.
"""

import contextlib
import inspect
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.grpo_trainer import GRPOTrainer

from entrostat.clip import ClipBounds
from entrostat.engines.batch import (
    loss_weighted,
    sequences,
    token_advantages,
    trained_tokens,
)
from entrostat.engines.checks import (
    check_can_act,
    check_environment,
    updates_per_rollout,
)
from entrostat.engines.controller import Controller
from entrostat.engines.dump import DumpMixin
from entrostat.engines.lm_head import HeadSums, completion_stats
from entrostat.engines.meter import RegionMeter, SumsOf, TokenSample, Window
from entrostat.engines.rewards import guarded
from entrostat.engines.summary import sequence_sums, summarise
from entrostat.engines.window import at_level, events_under, shut, uncrossed
from entrostat.entropy import TokenStats
from entrostat.objectives import LossInputs, Objective
from entrostat.statefile import read_state, write_state
from entrostat.strategies import Reads, RolloutSummary, Strategy, make_strategy
from entrostat.trainers import TRL_CLAMPED

STATE_FILE = "entrostat_state.json"
PREFIX = "entrostat/"
# what we add to a rollout: TRL shuffles and splits it along with its own tensors
_OLD_LOGPS = "entrostat_old_logps"
_OLD = {name: f"entrostat_old_{name}" for name in ("entropy", "sum_p2", "sum_p2_logp")}

if TYPE_CHECKING:

    class _Base:
        """What the mixin stands on, of TRL's trainer and of transformers'."""

        args: Any
        state: Any
        model: Any
        ref_model: Any
        accelerator: Any
        reward_funcs: list[Any]
        temperature: float
        importance_sampling_level: str
        num_generations: int
        epsilon_low: Any
        epsilon_high: Any
        current_gradient_accumulation_steps: int
        _is_vlm: bool
        _metrics: Any
        _step: int

        def __init__(self, *args: Any, **kwargs: Any): ...
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]: ...
        def _get_per_token_logps_and_entropies(
            self, model: nn.Module, *args: Any, **kwargs: Any
        ) -> Any: ...
        def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor: ...
        def _get_output_dir(self, trial: Any) -> str: ...
        def _save_checkpoint(self, model: nn.Module, trial: Any) -> None: ...
        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...
        def log(
            self, logs: dict[str, float], start_time: float | None = None
        ) -> None: ...

else:
    _Base = object


class Pass(NamedTuple):
    """What one forward pass of the trainer said of its completion tokens, (b t) each."""

    logprobs: Tensor
    entropy: Tensor | None


class EntropyControlMixin(DumpMixin, _Base):
    """Mix into a subclass of GRPOTrainer, before it: `class Mine(EntropyControlMixin, MyTrainer)`.

    Args:
        strategy: a Strategy, or the name of one with its default options. None: TRL's own thresholds and loss stand,
            whatever the loss type, and the engine only measures.
        objective: a loss term to add, aggregated over the trained tokens as loss type dapo does, with the weights that
            TRL gives them where vLLM has sampled. top_entropy_quantile and off-policy masks are not applied to it; one
            that replaces the loss of some tokens refuses them.
        attribution_share: share of trained tokens, drawn anew for each micro-batch, whose full-vocabulary sums enter
            the entropy change per region; an unbiased sample, since the sums cost a projection through the LM head.
            0 leaves them out: the token's own term is logged instead, under its own name.
        dump_every, dump_dir: as DumpMixin.

    Logged beside TRL's metrics, token-weighted over all ranks: `entrostat/entropy` (mean token entropy of the sampler,
    nats, over the rollout before its updates) and the keys of `RegionMeter.read` under `entrostat/`. Regions' changes
    are those of the plain surrogate r A, also under a loss that weighs tokens otherwise (sapo, cispo, an objective).

    Raises ValueError at construction when the strategy cannot act in this configuration, and RuntimeError when TRL has
    been rewritten (unsloth) or is not a tested version.
    """

    def __init__(
        self,
        *args: Any,
        strategy: Strategy | str | None,
        objective: Objective | None = None,
        attribution_share: float = 0.05,
        **kwargs: Any,
    ):
        check_environment(type(self))
        if not 0 <= attribution_share <= 1:
            raise ValueError(
                f"attribution_share must be in [0, 1], got {attribution_share}"
            )
        super().__init__(*args, **kwargs)
        self.strategy = (
            make_strategy(strategy) if isinstance(strategy, str) else strategy
        )
        self.objective = objective
        check_can_act(self.args, self.strategy, objective, images=self._is_vlm)
        self.attribution_share = attribution_share
        self.controller = Controller(self.strategy, objective)
        self.reward_funcs = [
            f if isinstance(f, nn.Module) else guarded(f) for f in self.reward_funcs
        ]
        self._meter = RegionMeter()
        # set while a rollout's sampled tokens are wanted: `take_tokens` then gives them; off, nothing is kept
        self.keep_tokens = False
        self._passes: list[Pass] | None = None
        self._head = HeadSums()

    # The rollout

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        with self._recording() as passes:
            output = super()._generate_and_score_completions(inputs)
        old_logps = output.get("old_per_token_logps")
        # TRL may run the reference model too: the old pass is the one whose very tensor it hands on
        old = next((p for p in passes if p.logprobs is old_logps), None)
        if old is None:
            old = self._old_pass(output)
            output[_OLD_LOGPS] = old.logprobs
        stats = TokenStats(old.logprobs, old.entropy)
        if Reads.VOCABULARY_SUMS in self.controller.reads:
            stats = self._sums(output)._replace(
                logprobs=old.logprobs, entropy=old.entropy
            )
        output |= {
            key: value
            for name, key in _OLD.items()
            if (value := getattr(stats, name)) is not None
        }
        if self.model.training:
            self._observe(stats, output)
        return output

    def _old_pass(self, output: dict[str, Any]) -> Pass:
        """The pass over the rollout that TRL spares itself when updates are on-policy."""
        names = inspect.signature(
            GRPOTrainer._get_per_token_logps_and_entropies
        ).parameters
        multimodal = {key: value for key, value in output.items() if key in names}
        mode_batch = (
            "per_device_train_batch_size"
            if self.model.training
            else "per_device_eval_batch_size"
        )
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(
                self.model, self.args.gradient_checkpointing_kwargs
            ),
        ):
            logps, entropies, _ = self._get_per_token_logps_and_entropies(
                self.model,
                *sequences(output),
                batch_size=getattr(self.args, mode_batch),
                compute_entropy=True,
                **multimodal,
            )
        return Pass(logps, entropies)

    def _sums(self, output: dict[str, Any]) -> TokenStats:
        with disable_gradient_checkpointing(
            self.model, self.args.gradient_checkpointing_kwargs
        ):
            return completion_stats(
                self.model,
                *sequences(output),
                self.temperature,
                vocabulary=self._vocabulary,
                most=self.args.per_device_train_batch_size,
            )

    @property
    def _vocabulary(self) -> int:
        return self._inner(self.model).config.get_text_config().vocab_size

    @property
    def controller_state(self) -> Any:
        """The strategy's state."""
        return self.controller.state

    @property
    def objective_state(self) -> Any:
        """The objective's state."""
        return self.controller.objective_state

    def _observe(self, old: TokenStats, output: dict[str, Any]) -> None:
        summary = self._summary(old, output)
        logged = {"entropy": summary.entropy, "entropy_error": summary.entropy_error}
        self.controller.observe(summary)
        logged |= self.controller.signals()
        for name, value in logged.items():
            if value is not None and math.isfinite(value):
                self._metrics["train"][PREFIX + name].append(value)

    def _summary(self, old: TokenStats, output: dict[str, Any]) -> RolloutSummary:
        advantages = loss_weighted(token_advantages(output), output)
        sums = sequence_sums(old, advantages, trained_tokens(output))
        return summarise(
            self.accelerator.gather(sums),
            group=self.num_generations,
            progress=self.state.global_step / self.state.max_steps,
            updates=updates_per_rollout(self.args),
            ceiling=math.log(self._vocabulary),
        )

    # The loss

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        advantages = token_advantages(inputs)
        stored = inputs.get("old_per_token_logps")
        old_logps = stored if stored is not None else inputs[_OLD_LOGPS]
        old = TokenStats(
            old_logps, **{name: inputs.get(key) for name, key in _OLD.items()}
        )
        bounds = self._bounds(old, advantages, trained_tokens(inputs))
        scalars = self.epsilon_low, self.epsilon_high
        try:
            if bounds is not None:
                self.epsilon_low, self.epsilon_high = bounds
            with self._recording() as passes, self._hidden_states(model) as hidden:
                loss = super()._compute_loss(model, inputs)
        finally:
            self.epsilon_low, self.epsilon_high = scalars
        now = passes[-1]
        logratio = now.logprobs - (
            now.logprobs.detach() if stored is None else old_logps
        )
        if self.objective is not None:
            loss = loss + self._correction(inputs, now, logratio, advantages, old)
        if self.model.training:
            self._count(
                model, inputs, now, logratio.detach(), advantages, bounds, hidden
            )
        return loss

    def _bounds(
        self, old: TokenStats, advantages: Tensor, mask: Tensor
    ) -> ClipBounds | None:
        if self.strategy is None:
            return None
        bounds = self.controller.bounds(old)
        if (
            self.importance_sampling_level == "sequence"
        ):  # one ratio a sequence, and bounds that are all alike
            bounds = ClipBounds(bounds.low[:, :1], bounds.high[:, :1])
            mask = mask.any(dim=1, keepdim=True)
        return uncrossed(bounds, advantages, mask)

    def _correction(
        self, inputs, now: Pass, logratio: Tensor, advantages: Tensor, old: TokenStats
    ) -> Tensor:
        """The objective's term: its sum over trained tokens, by TRL's normalizer of loss type dapo."""
        assert now.entropy is not None
        mask = trained_tokens(inputs)
        term = self.controller.correction(
            LossInputs(now.logprobs, logratio, advantages, old, now.entropy, mask)
        )
        # tokens of the generation batch, over all ranks, rescaled to one accumulation window
        tokens = (
            inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        )
        if self.model.training:
            tokens = (
                tokens
                * self.current_gradient_accumulation_steps
                / self.args.steps_per_generation
            )
        return torch.where(mask, loss_weighted(term, inputs), 0.0).sum() / tokens

    @torch.no_grad()
    def _count(
        self,
        model,
        inputs,
        now: Pass,
        logratio,
        advantages,
        bounds: ClipBounds | None,
        hidden,
    ) -> None:
        mask = trained_tokens(inputs)
        level = at_level(logratio, mask, self.importance_sampling_level)
        low, high = (self.epsilon_low, self.epsilon_high) if bounds is None else bounds
        keep = self.keep_tokens and self.args.loss_type in TRL_CLAMPED
        stats, window = TokenStats(now.logprobs, now.entropy), Window(level, low, high)
        events = events_under(
            level, advantages, self.args.loss_type, low, high, self.args.delta
        )
        full = self._full_stats(model, inputs, now, hidden) if hidden else None
        self._meter.add(
            stats,
            logratio,
            loss_weighted(advantages, inputs),
            events,
            mask,
            dropped=None if bounds is None else shut(bounds, advantages, mask),
            sample=self._draw(),
            share=self.attribution_share,
            full_stats=full if self.attribution_share else None,
            keep=window if keep else None,
        )
        self._dump_pass(
            inputs,
            stats,
            inputs.get(_OLD["entropy"]),
            advantages,
            mask,
            events,
            window,
            full,
        )

    def take_tokens(self) -> TokenSample | None:
        """The sampled tokens of updates under `keep_tokens`, since the last call. See RegionMeter.take_tokens."""
        return self._meter.take_tokens()

    def _draw(self) -> Tensor:
        """A uniform number from a generator of our own, since TRL's sampler draws from torch's global one.

        Keyed by what a resumed run has too: TRL's `_step` starts again from 0 there.
        """
        micro = self._step % self.args.gradient_accumulation_steps
        words = (
            self.args.seed,
            self.state.global_step,
            micro,
            self.accelerator.process_index,
        )
        return torch.tensor(random.Random(repr(words)).random())

    def _full_stats(
        self, model: nn.Module, inputs: dict[str, Any], now: Pass, hidden: list[Tensor]
    ) -> SumsOf | None:
        head, mask = self._inner(model).get_output_embeddings(), trained_tokens(inputs)
        return self._head.at_tokens(
            head,
            hidden[-1],
            inputs["completion_ids"],
            now.logprobs,
            mask,
            float(self.temperature),
        )

    def _inner(self, model: nn.Module) -> Any:
        inner = self.accelerator.unwrap_model(model)
        return inner.get_base_model() if hasattr(inner, "get_base_model") else inner

    @contextlib.contextmanager
    def _hidden_states(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Keeps the last hidden states of the passes inside. They are alive for the backward pass anyway."""
        kept: list[Tensor] = []
        if not self.model.training or (
            self.attribution_share == 0 and not self._dumping
        ):
            yield kept
            return
        backbone = self._inner(model).base_model
        handle = backbone.register_forward_hook(
            lambda _module, _args, out: kept.append(out.last_hidden_state.detach())
        )
        try:
            yield kept
        finally:
            handle.remove()

    # What both share

    def _get_per_token_logps_and_entropies(
        self, model: nn.Module, *args: Any, **kwargs: Any
    ) -> Any:
        if self._passes is None or model is self.ref_model:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        asked = kwargs.pop("compute_entropy", False)
        # TRL's fused head computes the entropy in every pass of the policy; asking for it costs nothing
        logps, entropies, aux = super()._get_per_token_logps_and_entropies(
            model, *args, compute_entropy=True, **kwargs
        )
        self._passes.append(Pass(logps, entropies))
        return logps, entropies if asked else None, aux

    @contextlib.contextmanager
    def _recording(self) -> Iterator[list[Pass]]:
        self._passes = []
        try:
            yield self._passes
        finally:
            self._passes = None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            for name, value in self._meter.read(
                lambda x: self.accelerator.reduce(x, reduction="sum")
            ).items():
                self._metrics["train"][PREFIX + name].append(value)
        super().log(logs, start_time)

    # Checkpoints

    def controller_payload(self) -> dict[str, Any]:
        """The strategy, the objective and their states, as JSON."""
        return self.controller.payload()

    def load_controller(self, payload: dict[str, Any], source: str) -> None:
        """Takes states that `controller_payload` gave. Options may have changed; ValueError for others' states."""
        self.controller.load(payload, source)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = (
            Path(self._get_output_dir(trial=trial))
            / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        )
        if self.args.should_save:
            # before TRL writes: whoever finds its trainer_state.json, written last, finds ours too
            os.makedirs(folder, exist_ok=True)
            write_state(folder / STATE_FILE, self.controller_payload())
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / STATE_FILE
        if not path.exists():
            raise ValueError(
                f"{path} is missing, so the controller's state is unknown: resume from a checkpoint of an "
                "EntropyControlGRPOTrainer, or start from the model alone"
            )
        self.load_controller(read_state(path), str(path))


class EntropyControlGRPOTrainer(EntropyControlMixin, GRPOTrainer):
    """TRL's GRPOTrainer, plus `strategy=`: clip bounds per token, set by a strategy. See EntropyControlMixin."""
