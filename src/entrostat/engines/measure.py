"""What the TRL engine measures of each micro-batch: clip shares and the entropy change per
region, in the logs and in a dump. Nothing here changes what is trained.
"""

import random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from entrostat.clip import ClipBounds
from entrostat.engines.batch import loss_weighted, token_advantages, trained_tokens
from entrostat.engines.dump import DumpMixin, TrainedPass
from entrostat.engines.meter import RegionMeter, SumsOf, TokenSample, Window
from entrostat.engines.passes import Pass, Passes, PassMixin
from entrostat.engines.window import at_level, events_under, shut
from entrostat.entropy import TokenStats
from entrostat.trainers import TRL_CLAMPED

PREFIX = "entrostat/"
"""Of every name that the engine logs."""


class MeasureMixin(PassMixin, DumpMixin):
    """Counts and dumps the passes that TRL trains on.

    Args:
        attribution_share: share of trained tokens, drawn anew for each micro-batch,
            whose full-vocabulary sums enter the entropy change per region. It is an
            unbiased sample, since the sums cost a projection through the LM head. 0
            leaves them out: the token's own term is logged instead, under its own name.
        dump_every, dump_dir: as DumpMixin.

    Logged: the keys of `RegionMeter.read` under `entrostat/`, token-weighted over all
    ranks. Regions' changes are those of the plain surrogate r A, also under a loss that
    weighs tokens otherwise (sapo, cispo, an objective). A token that TRL leaves out of
    its loss (top_entropy_quantile, off_policy_mask_threshold) is in no region.
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
        self._meter = RegionMeter(self._sum_over_ranks)

    def take_tokens(self) -> TokenSample | None:
        """The sampled tokens of updates under `keep_tokens`, since the last call. See
        RegionMeter.take_tokens."""
        return self._meter.take_tokens()

    @torch.no_grad()
    def _measure(
        self,
        model: nn.Module,
        batch: dict[str, Any],
        now: Pass,
        passes: Passes,
        old: TokenStats,
        logratio: Float[Tensor, "b t"],
        bounds: ClipBounds | None,
    ) -> None:
        """Counts one micro-batch, and dumps it where its rollout is dumped. Every rank
        takes part.

        Args:
            batch: the micro-batch, as TRL has shuffled and split it.
            now: the pass that the loss was made of.
            passes: what else the loss has done.
            old: of the policy at the start of the rollout's updates.
            bounds: those that TRL's loss read; None for TRL's own thresholds.
        """
        stats = TokenStats(now.logprobs.detach(), now.entropy.detach())
        trained = self._trained_pass(batch, stats, old, logratio, bounds, passes)
        full_stats = None
        if now.states is not None and (self.attribution_share > 0 or self._dumping):
            full_stats = self._full_stats(model, trained, now.states)
        advantages, mask = trained.advantages, trained.mask
        weighted = loss_weighted(advantages, batch)
        for kept in passes.masks:
            weighted = weighted * kept
        self._meter.add(
            stats,
            logratio,
            weighted,
            trained.events,
            mask,
            dropped=None if bounds is None else shut(bounds, advantages, mask),
            sample=self._draw(),
            share=self.attribution_share,
            full_stats=full_stats if self.attribution_share else None,
            keep=trained.window if self.keep_tokens else None,
        )
        self._dump_pass(trained, full_stats)

    def _trained_pass(
        self,
        batch: dict[str, Any],
        stats: TokenStats,
        old: TokenStats,
        logratio: Float[Tensor, "b t"],
        bounds: ClipBounds | None,
        passes: Passes,
    ) -> TrainedPass:
        """The micro-batch with its clip events; none under a loss of somebody's own that
        reads no threshold."""
        advantages, mask = token_advantages(batch), trained_tokens(batch)
        low, high = (self.epsilon_low, self.epsilon_high) if bounds is None else bounds
        level = at_level(logratio, mask, self.importance_sampling_level)
        # a loss of somebody's own that reads no threshold clips nothing
        loss_type = self.args.loss_type if passes.read else "none"
        delta = self.args.delta
        return TrainedPass(
            batch=batch,
            stats=stats,
            old_entropy=old.entropy,
            advantages=advantages,
            mask=mask,
            events=events_under(level, advantages, loss_type, low, high, delta),
            window=Window(level, low, high) if loss_type in TRL_CLAMPED else None,
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

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            for name, value in self._meter.read().items():
                self._metrics["train"][PREFIX + name].append(value)
        super().log(logs, start_time)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="sum")
