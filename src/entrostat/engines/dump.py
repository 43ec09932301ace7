"""Dumps of rollouts from TRL's trainer: what each token was in the pass that trained on it
(entrostat.dump).

It overrides `_generate_and_score_completions`, where the rollout gets its sample numbers
and rewards, which TRL shuffles along. The engine hands on every pass (measure.py). A
rollout's rows are kept on the CPU, some 60 bytes per token, and written with its last
pass.
"""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipEvents
from entrostat.dump import cut, file_name, rows, save
from entrostat.engines.lm_head import CHUNK
from entrostat.engines.meter import SumsOf, Window
from entrostat.engines.scored import ScoredMixin
from entrostat.engines.window import high_under
from entrostat.entropy import TokenStats
from entrostat.objectives import Objective, objective_name
from entrostat.objectives.clipped import OnClipped
from entrostat.trainers import TRL_CLAMPED

# What we add to a rollout: TRL shuffles and splits it along with its own tensors.
_SAMPLE, _REWARD = "entrostat_sample", "entrostat_reward"


class TrainedPass(NamedTuple):
    """A micro-batch as the pass saw it that trained on it, without gradient."""

    batch: dict[str, Any]
    """As TRL has shuffled and split it."""
    stats: TokenStats
    """Log-probabilities and entropy of this very pass, (b t) each."""
    old_entropy: Float[Tensor, "b t"] | None
    """Of the policy at the start of the rollout's updates, in nats."""
    advantages: Float[Tensor, "b #t"]
    mask: Bool[Tensor, "b t"]
    """Trained tokens; the others may hold anything."""
    events: ClipEvents
    """What the clip took, (b t) each."""
    window: Window | None
    """The bounds behind the events; None where tokens do not lose their gradient."""


class DumpMixin(ScoredMixin):
    """Writes every `dump_every`-th rollout, the first included, to
    `dump_dir`/step-000000.parquet and so on; 0: none.

    Each rank writes its own part of a rollout (step-000012-rank003.parquet) and gathers
    nothing. A rollout is written once all its passes were made. Training that starts
    afresh refuses a folder with dumps in it; training that resumes removes those of the
    rollouts that it makes again.

    Raises:
        ValueError: `dump_every` is no whole number or negative, or there is no
            `dump_dir`; when training begins, the folder holds dumps of another run.
    """

    objective: Objective | None
    """Set by EntropyControlMixin."""

    def __init__(
        self,
        *args: Any,
        dump_every: int = 0,
        dump_dir: str | Path | None = None,
        **kwargs: Any,
    ):
        check_dumping(dump_every, dump_dir)
        super().__init__(*args, **kwargs)
        self._dump_every = dump_every
        self._dump_dir = Path(dump_dir or "")
        # of the rollout at hand: whether it is dumped, its number, the update that it
        # began at, and its rows so far
        self._dumping = False
        self._rollout = -1
        self._began_at = 0
        self._parts: list[pa.RecordBatch] = []

    # The rollout

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        if not self._dump_every or not self.model.training:
            return super()._generate_and_score_completions(inputs)
        self._begin_rollout()
        output = super()._generate_and_score_completions(inputs)
        if self._dumping:
            rewards = self._rewards_of(output)
            first = self.accelerator.process_index * len(rewards)
            output[_REWARD] = rewards
            output[_SAMPLE] = first + torch.arange(len(rewards), device=rewards.device)
        return output

    def _begin_rollout(self) -> None:
        window = self.args.gradient_accumulation_steps
        passes = self.state.global_step * window + self._step % window
        # Where an epoch ends within an accumulation window, passes are left out. No
        # number may come twice.
        number = max(self._rollout + 1, passes // self._passes_per_rollout)
        if self._rollout < 0:
            self._take_folder(number)
        self._rollout = number
        self._began_at = self.state.global_step
        self._parts = []
        self._dumping = number % self._dump_every == 0

    @property
    def _passes_per_rollout(self) -> int:
        return self.args.steps_per_generation * self.args.num_iterations

    def _take_folder(self, number: int) -> None:
        """Makes the folder ready for dumps from rollout `number` on."""
        self._dump_dir.mkdir(parents=True, exist_ok=True)
        resumed = self.state.global_step > 0
        if resumed:
            cut(self._dump_dir, number)
        elif any(self._dump_dir.glob("step-*.parquet")):
            raise ValueError(
                f"{self._dump_dir} holds dumps of another run: choose another folder, "
                "or move them away"
            )

    # Its passes

    def _dump_pass(self, trained: TrainedPass, full_stats: SumsOf | None) -> None:
        """Takes one micro-batch, where its rollout is dumped.

        Args:
            full_stats: gives the vocabulary sums at flat indices; None leaves them out.
        """
        if not self._dumping:
            return
        columns = self._columns(trained)
        if full_stats is not None:
            columns |= _vocabulary_sums(full_stats, trained.mask)
        self._parts.append(rows(**columns))
        if len(self._parts) == self._passes_per_rollout:
            self._write_rollout()

    def _columns(self, trained: TrainedPass) -> dict[str, Any]:
        """The dump's columns for one micro-batch, but for the vocabulary sums."""
        batch, stats, events = trained.batch, trained.stats, trained.events
        old_logprobs = batch.get("old_per_token_logps")
        if old_logprobs is None:
            # the old policy is the current one then, and every ratio exactly 1
            old_logprobs = stats.logprobs
        sides = events.high.to(torch.int8) - events.low.to(torch.int8)
        bounds = {}
        if trained.window is not None:
            high = high_under(trained.window.high, self.args.delta)
            bounds = {"low": trained.window.low, "high": high}
        else:
            # cispo's events are tokens that keep their gradient
            sides = torch.zeros_like(sides)
        return {
            "decode": self.processing_class.decode,
            "step": self._rollout,
            "sample": batch[_SAMPLE],
            "group": batch[_SAMPLE] // self.num_generations,
            "update": self.state.global_step - self._began_at,
            "reward": batch[_REWARD],
            "prompt": self._prompts(batch),
            "tokens": batch["completion_ids"],
            "mask": trained.mask,
            "advantages": trained.advantages,
            "logprobs": stats.logprobs,
            "old_logprobs": old_logprobs,
            "entropy": stats.entropy,
            "old_entropy": trained.old_entropy,
            "clipped": sides,
            **bounds,
        }

    def _prompts(self, batch: dict[str, Any]) -> list[str]:
        """The prompts' texts, without padding."""
        texts = []
        masks = batch["prompt_mask"].bool()
        for ids, real in zip(batch["prompt_ids"], masks, strict=True):
            texts.append(self.processing_class.decode(ids[real].tolist()))
        return texts

    def _write_rollout(self) -> None:
        parts, self._parts, self._dumping = self._parts, [], False
        # A later pass may find that the LM head's plain product is not TRL's, and then
        # has no vocabulary sums.
        common = set(parts[0].schema.names)
        for part in parts[1:]:
            common &= set(part.schema.names)
        names = [name for name in parts[0].schema.names if name in common]
        name = file_name(
            self._rollout,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        save(
            self._dump_dir / name,
            [part.select(names) for part in parts],
            notes=self._notes(clips="low" in names),
        )

    def _notes(self, *, clips: bool) -> dict[str, Any]:
        """Facts of the run that a reader of its dumps needs.

        Args:
            clips: whether the loss has read a window.
        """
        loss = self.args.loss_type
        if loss in TRL_CLAMPED and not clips:
            # somebody's own, of which a reader is not to expect what TRL's does
            loss = type(self).__name__
        notes = {
            "loss_type": loss,
            "importance_sampling_level": self.args.importance_sampling_level,
            "temperature": self.temperature,
            "ranks": self.accelerator.num_processes,
        }
        if isinstance(self.objective, OnClipped):
            notes["objective"] = objective_name(self.objective)
        weighing = weighed_by(self.args)
        if weighing:
            notes["weighed_by"] = weighing
        return notes


def check_dumping(dump_every: Any, dump_dir: Any) -> None:
    """Raises ValueError for options of DumpMixin that mean nothing."""
    if not isinstance(dump_every, int) or dump_every < 0:
        raise ValueError(
            "dump_every must be a whole number of rollouts, 0 for no dumps, got "
            f"{dump_every!r}"
        )
    if dump_every and dump_dir is None:
        raise ValueError(f"dump_every={dump_every} needs a folder: give dump_dir")


def weighed_by(args: Any) -> list[str]:
    """The options of a GRPOConfig by which TRL weighs tokens beside r A, or takes no
    gradient from some."""
    names = []
    if args.top_entropy_quantile < 1:
        names.append("top_entropy_quantile")
    if args.off_policy_mask_threshold is not None:
        names.append("off_policy_mask_threshold")
    corrected = args.use_vllm and args.vllm_importance_sampling_correction
    if corrected and args.loss_type != "vespo":
        names.append("vllm_importance_sampling_mode")
    return names


def _vocabulary_sums(
    full_stats: SumsOf, mask: Bool[Tensor, "b t"]
) -> dict[str, Float[Tensor, "b t"]]:
    """sum_p2 and sum_p2_logp at all trained tokens; NaN elsewhere."""
    sum_p2 = torch.full(mask.shape, torch.nan, device=mask.device)
    sum_p2_logp = torch.full_like(sum_p2, torch.nan)
    for at in mask.reshape(-1).nonzero().squeeze(-1).split(CHUNK):
        stats = full_stats(at)
        assert stats.sum_p2 is not None and stats.sum_p2_logp is not None
        sum_p2.view(-1)[at] = stats.sum_p2[0]
        sum_p2_logp.view(-1)[at] = stats.sum_p2_logp[0]
    return {"sum_p2": sum_p2, "sum_p2_logp": sum_p2_logp}
