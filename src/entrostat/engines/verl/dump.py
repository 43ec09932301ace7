"""Dumps of training steps from the ranks: what each token was in the pass that trained on it (entrostat.dump).

Each rank writes its part of a step, step-000012-rank003.parquet, once it has made all passes over it. Steps count from
0, as rollouts do elsewhere: verl's step 1 is rollout 0.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from torch import Tensor

from entrostat.clip import Bound, clip_events
from entrostat.dump import file_name, rows, save

SAMPLE, GROUP, REWARD = "entrostat_sample", "entrostat_group", "entrostat_reward"
"""Columns that the driver adds to a batch that is dumped, (b,). A sample under 0 is verl's padding."""


def run_notes(config: DictConfig) -> dict[str, Any]:
    """What a dump notes of a run with this configuration of verl's; `vanilla` names the loss beneath ours."""
    model, correction = (
        config.actor_rollout_ref,
        config.algorithm.get("rollout_correction", None) or {},
    )
    notes = {
        "loss_type": "vanilla",
        "loss_agg_mode": model.actor.loss_agg_mode,
        "temperature": model.rollout.temperature,
    }
    if correction.get("rollout_is", None) and not correction.get("bypass_mode", False):
        notes["weighed_by"] = ["rollout_is"]
    return notes


class StepDump:
    """Collects one rank's rows of a step, on the CPU, some 60 bytes a token and pass."""

    def __init__(self, folder: Path, tokenizer: Any, config: DictConfig):
        self.folder, self.tokenizer, self.notes = folder, tokenizer, run_notes(config)
        self._dual: float = config.actor_rollout_ref.actor.get("clip_ratio_c", 3.0)
        self._step, self._seen = -1, 0
        self._parts: list[pa.RecordBatch] = []

    def add(
        self,
        told: dict[str, Any],
        data: TensorDict,
        dp_group: Any,
        logprobs: Tensor,
        entropy: Tensor | None,
        old_entropy: Tensor | None,
        bounds: tuple[Bound, Bound],
    ) -> None:
        """Takes one micro-batch, and writes the file after the last of the step.

        Args:
            told: what the driver told: `step`, and `dump`, the rows of all passes and ranks.
            logprobs, entropy: of this pass, (b t), nats.
            old_entropy: of the policy at the start of the step's updates.
            bounds: half-widths in force.
        """
        if told["step"] != self._step:
            self._step, self._seen, self._parts = told["step"], 0, []
        ranks = torch.distributed.get_world_size(dp_group)
        update = self._seen // max(1, data["global_batch_size"] // ranks)
        self._seen += len(data)
        real = (data[SAMPLE] >= 0).nonzero().squeeze(-1)
        if len(real):
            batch = _columns(data, logprobs, entropy, old_entropy, bounds, self._dual)
            batch = {name: value[real] for name, value in batch.items()}
            prompts = [
                self.tokenizer.decode(data["prompts"][int(i)].tolist()) for i in real
            ]
            known = {"step": self._step, "update": update, "prompt": prompts}
            self._parts.append(rows(decode=self.tokenizer.decode, **known, **batch))
        if self._seen == told["dump"] // ranks and self._parts:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = file_name(self._step, torch.distributed.get_rank(dp_group), ranks)
            save(
                self.folder / name,
                self._parts,
                notes=self.notes | {"ranks": ranks},
                overwrite=True,
            )
            self._parts = []


def _columns(
    data: TensorDict,
    logprobs: Tensor,
    entropy: Tensor | None,
    old_entropy: Tensor | None,
    bounds: tuple[Bound, Bound],
    dual: float,
) -> dict[str, Tensor]:
    """The columns of a dump's rows, on the CPU: (b t), and (b,) for what belongs to a completion."""
    whole = data.select(
        "responses", "response_mask", "old_log_probs", "advantages"
    ).to_padded_tensor()
    old, advantages = whole["old_log_probs"], whole["advantages"]
    low, high = (
        torch.as_tensor(x, device=old.device).expand_as(old).float() for x in bounds
    )
    below, above = clip_events(logprobs - old, advantages, low=low, high=high)
    # verl's dual clip: past it a token of A < 0 has no gradient either
    above = above | ((logprobs - old).exp() > dual) & (advantages < 0) & ~below
    columns = {
        "sample": data[SAMPLE],
        "group": data[GROUP],
        "reward": data[REWARD],
        "tokens": whole["responses"],
        "mask": whole["response_mask"].bool(),
        "advantages": advantages,
        "logprobs": logprobs,
        "old_logprobs": old,
        "entropy": entropy,
        "old_entropy": old_entropy,
        "low": low,
        "high": high,
        "clipped": above.to(torch.int8) - below.to(torch.int8),
    }
    return {name: value.cpu() for name, value in columns.items() if value is not None}
