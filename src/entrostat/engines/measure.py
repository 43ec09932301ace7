"""What the TRL engine measures of each micro-batch: clip shares and the entropy change per
region, in the logs and in a dump. Nothing here changes what is trained.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from entrostat.clip import ClipBounds
from entrostat.engines.batch import loss_weighted, token_advantages, trained_tokens
from entrostat.engines.dump import DumpMixin, TrainedPass
from entrostat.engines.lm_head import HeadSums
from entrostat.engines.meter import RegionMeter, SumsOf, TokenSample, Window
from entrostat.engines.window import at_level, events_under, shut
from entrostat.entropy import TokenStats
from entrostat.trainers import TRL_CLAMPED

PREFIX = "entrostat/"
"""Of every name that the engine logs."""


class MeasureMixin(DumpMixin):
    """Counts and dumps the passes that TRL trains on.

    Args:
        attribution_share: share of trained tokens, drawn anew for each micro-batch,
            whose full-vocabulary sums enter the entropy change per region. It is an
            unbiased sample, since the sums cost a projection through the LM head. 0
            leaves them out: the token's own term is logged instead, under its own name.
        dump_every, dump_dir: as DumpMixin.

    Logged: the keys of `RegionMeter.read` under `entrostat/`, token-weighted over all
    ranks. Regions' changes are those of the plain surrogate r A, also under a loss that
    weighs tokens otherwise (sapo, cispo, an objective).
    """

    def __init__(self, *args: Any, attribution_share: float = 0.05, **kwargs: Any):
        if not 0 <= attribution_share <= 1:
            raise ValueError(
                f"attribution_share must be in [0, 1], got {attribution_share}"
            )
        super().__init__(*args, **kwargs)
        self.attribution_share = attribution_share
        self.keep_tokens = False
        """Set while a rollout's sampled tokens are wanted: `take_tokens` gives them."""
        self._meter = RegionMeter()
        self._head = HeadSums()

    def take_tokens(self) -> TokenSample | None:
        """The sampled tokens of updates under `keep_tokens`, since the last call. See
        RegionMeter.take_tokens."""
        return self._meter.take_tokens()

    @torch.no_grad()
    def _measure(
        self,
        model: nn.Module,
        batch: dict[str, Any],
        stats: TokenStats,
        old: TokenStats,
        logratio: Float[Tensor, "b t"],
        bounds: ClipBounds | None,
        hidden: list[Tensor],
    ) -> None:
        """Counts one micro-batch, and dumps it where its rollout is dumped.

        Args:
            batch: the micro-batch, as TRL has shuffled and split it.
            stats: log-probabilities and entropy of this very pass.
            old: of the policy at the start of the rollout's updates.
            bounds: those that TRL's loss read; None for TRL's own thresholds.
            hidden: the last hidden states of this pass; empty for no vocabulary sums.
        """
        trained = self._trained_pass(batch, stats, old, logratio, bounds)
        full_stats = None
        if hidden:
            full_stats = self._full_stats(model, trained, hidden[-1])
        advantages, mask = trained.advantages, trained.mask
        keep = self.keep_tokens and self.args.loss_type in TRL_CLAMPED
        self._meter.add(
            stats,
            logratio,
            loss_weighted(advantages, batch),
            trained.events,
            mask,
            dropped=None if bounds is None else shut(bounds, advantages, mask),
            sample=self._draw(),
            share=self.attribution_share,
            full_stats=full_stats if self.attribution_share else None,
            keep=trained.window if keep else None,
        )
        self._dump_pass(trained, full_stats)

    def _trained_pass(
        self,
        batch: dict[str, Any],
        stats: TokenStats,
        old: TokenStats,
        logratio: Float[Tensor, "b t"],
        bounds: ClipBounds | None,
    ) -> TrainedPass:
        """The micro-batch with its clip events."""
        advantages, mask = token_advantages(batch), trained_tokens(batch)
        own = self.epsilon_low, self.epsilon_high
        low, high = own if bounds is None else bounds
        level = at_level(logratio, mask, self.importance_sampling_level)
        loss_type, delta = self.args.loss_type, self.args.delta
        return TrainedPass(
            batch=batch,
            stats=stats,
            old_entropy=old.entropy,
            advantages=advantages,
            mask=mask,
            events=events_under(level, advantages, loss_type, low, high, delta),
            window=Window(level, low, high),
        )

    def _full_stats(
        self, model: nn.Module, trained: TrainedPass, states: Tensor
    ) -> SumsOf | None:
        """The vocabulary sums at chosen tokens of this pass, where they can be had."""
        return self._head.at_tokens(
            self._inner(model).get_output_embeddings(),
            states,
            trained.batch["completion_ids"],
            trained.stats.logprobs,
            trained.mask,
            float(self.temperature),
        )

    def _draw(self) -> Float[Tensor, ""]:
        """A uniform number from a generator of our own, since TRL's sampler draws from
        torch's global one.

        Its seed is made of what a resumed run has too. TRL's `_step` starts again from 0
        there, so only its place within an update counts.
        """
        seed = (
            self.args.seed,
            self.state.global_step,
            self._step % self.args.gradient_accumulation_steps,
            self.accelerator.process_index,
        )
        return torch.tensor(random.Random(repr(seed)).random())

    @contextlib.contextmanager
    def _hidden_states(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Gives a list that gets the last hidden states of the passes inside, where they
        are wanted. They are alive for the backward pass anyway."""
        kept: list[Tensor] = []
        wanted = self.attribution_share > 0 or self._dumping
        if not (self.model.training and wanted):
            yield kept
            return

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            kept.append(output.last_hidden_state.detach())

        handle = self._inner(model).base_model.register_forward_hook(keep)
        try:
            yield kept
        finally:
            handle.remove()

    def _inner(self, model: nn.Module) -> Any:
        """The language model, out of the wrappers of accelerate and PEFT."""
        inner = self.accelerator.unwrap_model(model)
        return inner.get_base_model() if hasattr(inner, "get_base_model") else inner

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            for name, value in self._meter.read(self._sum_over_ranks).items():
                self._metrics["train"][PREFIX + name].append(value)
        super().log(logs, start_time)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="sum")
