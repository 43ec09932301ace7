"""Dumps of training steps from the ranks: what each token was in the pass that trained on
it (entrostat.dump).

Each rank writes its part of a step, step-000012-rank003.parquet, once it has made all
passes over it. Steps count from 0, as rollouts do elsewhere: verl's step 1 is rollout 0.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from torch import Tensor

from entrostat.clip import Bound, clip_events
from entrostat.dump import file_name, rows, save
from entrostat.engines.window import at_level

SAMPLE, GROUP, REWARD = "entrostat_sample", "entrostat_group", "entrostat_reward"
"""Columns that the driver adds to a batch that is dumped, (b,). A sample under 0 is
verl's padding."""


def run_notes(config: DictConfig) -> dict[str, Any]:
    """What a dump notes of a run with this configuration of verl's. loss_type is that of
    the loss beneath ours."""
    setup = config.actor_rollout_ref
    level = _level(config)
    notes = {
        "loss_type": "gspo" if level == "sequence" else "vanilla",
        "importance_sampling_level": level,
        "loss_agg_mode": setup.actor.loss_agg_mode,
        "temperature": setup.rollout.temperature,
    }
    correction = config.algorithm.get("rollout_correction", None) or {}
    if correction.get("rollout_is", None) and not correction.get("bypass_mode", False):
        notes["weighed_by"] = ["rollout_is"]
    return notes


def _level(config: DictConfig) -> str:
    policy_loss = config.actor_rollout_ref.actor.policy_loss
    return policy_loss.get("importance_sampling_level", "token")


class StepDump:
    """Collects one rank's rows of a step, on the CPU, some 60 bytes per token and
    pass."""

    def __init__(self, folder: Path, tokenizer: Any, config: DictConfig):
        self.folder = folder
        self.tokenizer = tokenizer
        self.notes = run_notes(config)
        self._level = _level(config)
        self._dual: float = config.actor_rollout_ref.actor.get("clip_ratio_c", 3.0)
        if self._level == "sequence":
            # verl's gspo has no dual clip
            self._dual = math.inf
        self._begin(-1)

    def _begin(self, step: int) -> None:
        """Forgets the step before; what was not written of it was not whole."""
        self._step = step
        self._rows_seen = 0
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
            told: what the driver told: `step`, and `dump`, the rows of all passes and
                ranks.
            logprobs, entropy: of this pass, (b t), nats.
            old_entropy: of the policy at the start of the step's updates.
            bounds: half-widths in force.
        """
        if told["step"] != self._step:
            self._begin(told["step"])
        ranks = torch.distributed.get_world_size(dp_group)
        rows_per_update = max(1, data["global_batch_size"] // ranks)
        update = int(self._rows_seen // rows_per_update)
        self._rows_seen += len(data)
        real = (data[SAMPLE] >= 0).nonzero().squeeze(-1)
        if len(real):
            columns = self._columns(data, logprobs, entropy, old_entropy, bounds)
            self._parts.append(self._rows(update, data, columns, real))
        if self._rows_seen == told["dump"] // ranks and self._parts:
            self._write(torch.distributed.get_rank(dp_group), ranks)

    def _rows(
        self,
        update: int,
        data: TensorDict,
        columns: dict[str, Tensor],
        real: Tensor,
    ) -> pa.RecordBatch:
        """The rows of a micro-batch's completions that are not padding."""
        decode = self.tokenizer.decode
        prompts = [decode(data["prompts"][int(i)].tolist()) for i in real]
        real_columns = {name: column[real] for name, column in columns.items()}
        return rows(
            decode=decode,
            step=self._step,
            update=update,
            prompt=prompts,
            **real_columns,
        )

    def _columns(
        self,
        data: TensorDict,
        logprobs: Tensor,
        entropy: Tensor | None,
        old_entropy: Tensor | None,
        bounds: tuple[Bound, Bound],
    ) -> dict[str, Tensor]:
        """The columns of a dump's rows, on the CPU: (b t), and (b,) for what belongs to a
        completion."""
        names = ("responses", "response_mask", "old_log_probs", "advantages")
        whole = data.select(*names).to_padded_tensor()
        old, advantages = whole["old_log_probs"], whole["advantages"]
        low, high = (_per_token(bound, old) for bound in bounds)
        mask = whole["response_mask"].bool()
        logratio = at_level(logprobs - old, mask, self._level)
        below, above = clip_events(logratio, advantages, low=low, high=high)
        # verl's dual clip: past it a token of A < 0 has no gradient either
        above = above | ((logratio.exp() > self._dual) & (advantages < 0) & ~below)
        columns = {
            "sample": data[SAMPLE],
            "group": data[GROUP],
            "reward": data[REWARD],
            "tokens": whole["responses"],
            "mask": mask,
            "advantages": advantages,
            "logprobs": logprobs,
            "old_logprobs": old,
            "entropy": entropy,
            "old_entropy": old_entropy,
            "low": low,
            "high": high,
            "clipped": above.to(torch.int8) - below.to(torch.int8),
        }
        return {
            name: value.cpu() for name, value in columns.items() if value is not None
        }

    def _write(self, rank: int, ranks: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        save(
            self.folder / file_name(self._step, rank, ranks),
            self._parts,
            notes=self.notes | {"ranks": ranks},
            overwrite=True,
        )
        self._parts = []


def _per_token(bound: Bound, old: Tensor) -> Tensor:
    """A half-width for every token, float32 (b t)."""
    return torch.as_tensor(bound, device=old.device).expand_as(old).float()
