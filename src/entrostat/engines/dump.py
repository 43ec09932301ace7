"""Dumps of rollouts from TRL's trainer: what each token was in the pass that trained on it (entrostat.dump).

It overrides two of TRL's private methods, each calling super: `_generate_and_score_completions`, where the rollout gets
its sample numbers and rewards, which TRL shuffles along, and `_calculate_rewards`, which alone knows the rewards. The
engine hands on every pass. A rollout's rows are kept on the CPU, some 60 bytes a token, and written with its last pass.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entrostat.clip import ClipEvents
from entrostat.dump import cut, file_name, rows, save
from entrostat.engines.meter import SumsOf, Window
from entrostat.engines.rewards import weighted
from entrostat.engines.window import high_under
from entrostat.entropy import TokenStats
from entrostat.objectives import Objective, objective_name
from entrostat.objectives.clipped import OnClipped
from entrostat.trainers import TRL_CLAMPED

_SAMPLE, _REWARD = "entrostat_sample", "entrostat_reward"
# tokens whose logits are held at once: 500 MB at a vocabulary of 250,000
_CHUNK = 512

if TYPE_CHECKING:

    class _Base:
        """What the mixin stands on, of TRL's trainer."""

        args: Any
        state: Any
        model: Any
        accelerator: Any
        processing_class: Any
        reward_weights: Tensor
        temperature: float
        num_generations: int
        objective: Objective | None
        _step: int

        def __init__(self, *args: Any, **kwargs: Any): ...
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]: ...
        def _calculate_rewards(self, *args: Any) -> Tensor: ...

else:
    _Base = object


class DumpMixin(_Base):
    """Writes every `dump_every`-th rollout, the first included, to `dump_dir`/step-000000.parquet and so on; 0: none.

    Each rank writes its own part of a rollout (step-000012-rank003.parquet) and gathers nothing. A rollout is written
    once all its passes were made. Training that starts afresh refuses a folder with dumps in it; training that resumes
    removes those of the rollouts that it makes again.

    Raises ValueError: `dump_every` is negative, or there is no `dump_dir`; or when training begins, for its folder.
    """

    def __init__(
        self,
        *args: Any,
        dump_every: int = 0,
        dump_dir: str | Path | None = None,
        **kwargs: Any,
    ):
        if dump_every < 0:
            raise ValueError(f"dump_every must be at least 0, got {dump_every}")
        if dump_every and dump_dir is None:
            raise ValueError(f"dump_every={dump_every} needs a folder: give dump_dir")
        super().__init__(*args, **kwargs)
        self._dump_every, self._dump_dir = dump_every, Path(dump_dir or "")
        self._dumping = False
        self._rollout = -1
        self._began_at = 0
        self._parts: list[pa.RecordBatch] = []
        self._rewards: Tensor | None = None

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        if not self._dump_every or not self.model.training:
            return super()._generate_and_score_completions(inputs)
        self._begin_rollout()
        output = super()._generate_and_score_completions(inputs)
        if self._dumping:
            output |= self._of_completions(len(output["completion_ids"]))
        return output

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args)
        self._rewards = rewards if self._dumping else None
        return rewards

    @property
    def _passes_per_rollout(self) -> int:
        return self.args.steps_per_generation * self.args.num_iterations

    def _begin_rollout(self) -> None:
        window = self.args.gradient_accumulation_steps
        passes = self.state.global_step * window + self._step % window
        # no number twice, also where an epoch ends within an accumulation window
        number = max(self._rollout + 1, passes // self._passes_per_rollout)
        if self._rollout < 0:
            self._take_folder(number)
        self._rollout, self._began_at, self._parts = number, self.state.global_step, []
        self._dumping = number % self._dump_every == 0

    def _take_folder(self, number: int) -> None:
        self._dump_dir.mkdir(parents=True, exist_ok=True)
        if self.state.global_step:
            cut(self._dump_dir, number)
        elif any(self._dump_dir.glob("step-*.parquet")):
            raise ValueError(
                f"{self._dump_dir} holds dumps of another run: choose another folder, or move them away"
            )

    def _of_completions(self, b: int) -> dict[str, Tensor]:
        """The number and the reward of each completion of this rank, before TRL shuffles them."""
        assert self._rewards is not None
        rewards = weighted(self._rewards, self.reward_weights)
        first = self.accelerator.process_index * b
        sample = torch.arange(first, first + b, device=rewards.device)
        return {_SAMPLE: sample, _REWARD: rewards[first : first + b]}

    def _dump_pass(
        self,
        inputs: dict[str, Any],
        stats: TokenStats,
        old_entropy: Float[Tensor, "b t"] | None,
        advantages: Float[Tensor, "b #t"],
        mask: Bool[Tensor, "b t"],
        events: ClipEvents,
        window: Window,
        full_stats: SumsOf | None,
    ) -> None:
        """Takes one micro-batch of a rollout that is dumped.

        Args:
            inputs: the micro-batch, as TRL has shuffled and split it.
            stats: log-probabilities and entropy of this very pass.
            old_entropy: of the policy at the start of the rollout's updates.
            full_stats: gives the vocabulary sums at flat indices; None leaves them out.
        """
        if not self._dumping:
            return
        old_logprobs = inputs.get("old_per_token_logps")
        sums = {} if full_stats is None else _sums(full_stats, mask)
        clamped = self.args.loss_type in TRL_CLAMPED
        if clamped:
            sums |= {
                "low": window.low,
                "high": high_under(window.high, self.args.delta),
            }
        decode, prompts = (
            self.processing_class.decode,
            zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True),
        )
        self._parts.append(
            rows(
                decode=decode,
                step=self._rollout,
                sample=inputs[_SAMPLE],
                group=inputs[_SAMPLE] // self.num_generations,
                update=self.state.global_step - self._began_at,
                reward=inputs[_REWARD],
                prompt=[decode(ids[kept.bool()].tolist()) for ids, kept in prompts],
                tokens=inputs["completion_ids"],
                mask=mask,
                advantages=advantages,
                logprobs=stats.logprobs,
                # where TRL keeps none the old policy is the current one, and every ratio exactly 1
                old_logprobs=stats.logprobs if old_logprobs is None else old_logprobs,
                entropy=stats.entropy,
                old_entropy=old_entropy,
                # cispo's events are tokens that keep their gradient
                clipped=(events.high.to(torch.int8) - events.low.to(torch.int8))
                * clamped,
                **sums,
            )
        )
        if len(self._parts) == self._passes_per_rollout:
            self._write_rollout()

    def _write_rollout(self) -> None:
        parts, self._parts, self._dumping = self._parts, [], False
        # the sums stop where a later pass finds that the LM head's plain product is not TRL's
        common = [
            name
            for name in parts[0].schema.names
            if all(name in part.schema.names for part in parts)
        ]
        ranks = self.accelerator.num_processes
        notes = {
            "loss_type": self.args.loss_type,
            "importance_sampling_level": self.args.importance_sampling_level,
            "temperature": self.temperature,
            "ranks": ranks,
        }
        if isinstance(self.objective, OnClipped):
            notes["objective"] = objective_name(self.objective)
        if weighed := weighed_by(self.args):
            notes["weighed_by"] = weighed
        name = file_name(self._rollout, self.accelerator.process_index, ranks)
        save(
            self._dump_dir / name, [part.select(common) for part in parts], notes=notes
        )


def weighed_by(args: Any) -> list[str]:
    """The options of a GRPOConfig by which TRL weighs tokens beside r A, or takes no gradient from some."""
    vllm = args.use_vllm and args.vllm_importance_sampling_correction
    weighs = {
        "top_entropy_quantile": args.top_entropy_quantile < 1,
        "off_policy_mask_threshold": args.off_policy_mask_threshold is not None,
        "vllm_importance_sampling_mode": vllm and args.loss_type != "vespo",
    }
    return [name for name, on in weighs.items() if on]


def _sums(full_stats: SumsOf, mask: Bool[Tensor, "b t"]) -> dict[str, Any]:
    """sum_p2 and sum_p2_logp at all trained tokens, (b t); NaN elsewhere."""
    flat = mask.reshape(-1).nonzero().squeeze(-1)
    out = {
        name: torch.full(mask.shape, torch.nan, device=mask.device)
        for name in ("sum_p2", "sum_p2_logp")
    }
    for at in flat.split(_CHUNK):
        found = full_stats(at)
        for name, values in out.items():
            values.view(-1)[at] = getattr(found, name)[0]
    return out
