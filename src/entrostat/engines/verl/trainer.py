"""On the driver: observes once per call that updates the actor, hands the state to all
ranks, and keeps it with verl's checkpoints.

It overrides four methods of verl's trainers, each calling super, and tells the ranks by
`extra_info`, which verl carries to them with the batch. A training step has one such
call, and parameter_sync_step of them under separate_async.
"""

import json
import math
from pathlib import Path
from typing import ClassVar

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass

from entrostat.dump import cut
from entrostat.engines.controller import Controller
from entrostat.engines.overrides import check_overrides
from entrostat.engines.verl.checks import bypasses, checked_options
from entrostat.engines.verl.dump import GROUP, REWARD, SAMPLE, StepDump
from entrostat.engines.verl.loss import KEY, ControlledLoss
from entrostat.engines.verl.metrics import PREFIX, step_means
from entrostat.engines.verl.observe import Batch, observed, sampler_gap
from entrostat.engines.verl.staleness import (
    Clock,
    entropy_ages,
    mean_age,
    sampler_ages,
)
from entrostat.statefile import read_state, write_state
from entrostat.strategies import RolloutSummary, state_to_json
from entrostat.trainers import (
    TESTED_VERL,
    VERL_TRAINERS,
    verl_updates_per_rollout,
)

STATE_FILE = "entrostat_state.json"


class EntropyControl(PPOTrainer):
    """What is laid over a trainer of verl's, so that a strategy sets its clip bounds.

    Raises ValueError at the start for what `checks` refuses, and on resuming for a
    checkpoint without our state, or with that of another strategy.
    """

    verl_mode: ClassVar[str]
    """The trainer_mode of the trainer beneath."""

    def __init__(self, config: DictConfig):
        self.options = checked_options(config)
        with open_dict(config):
            # verl compares this string in several places, and reads the section of
            # this name
            config.trainer.v1.trainer_mode = self.verl_mode
        self.controller = Controller(self.options.make())
        self._ceiling = math.nan
        super().__init__(config)

    def on_init_end(self) -> None:
        actor = omega_conf_to_dataclass(self.config.actor_rollout_ref.actor)
        model = omega_conf_to_dataclass(self.config.actor_rollout_ref.model)
        self._ceiling = math.log(model.hf_config.get_text_config().vocab_size)
        dump = None
        if self.options.dump_every:
            self._take_folder()
            dump = StepDump(self._dump_dir, self.tokenizer, self.config)
        self.actor_rollout_wg.set_loss_fn(ControlledLoss(actor, dump))
        super().on_init_end()

    # One update call

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        columns = self._columns(batch)
        sampled = self._sampler_ages(batch, columns)
        summary = self._summary(columns, len(batch), sampled)
        self.controller.observe(summary)
        step = self._clock.rollout
        dumped_rows = 0
        if self.options.dump_every and step % self.options.dump_every == 0:
            batch = self._mark(batch, columns)
            dumped_rows = len(batch) * self.config.actor_rollout_ref.actor.ppo_epochs
        told = {
            "state": state_to_json(self.controller.state),
            "step": step,
            "dump": dumped_rows,
        }
        batch.extra_info = (batch.extra_info or {}) | {KEY: json.dumps(told)}
        batch = super()._update_actor(batch, metrics)
        metrics |= self._signals(summary)
        metrics |= _off_policy(columns, sampled)
        metrics |= step_means(metrics)
        return batch

    @property
    def _clock(self) -> Clock:
        return Clock(
            step=self.global_steps,
            call=self.local_trigger_step,
            calls=self.parameter_sync_step,
            warmup=self.config.trainer.critic_warmup,
        )

    def _sampler_ages(
        self, batch: KVBatchMeta, columns: Batch
    ) -> tuple[float, ...] | None:
        """None where all are of age 0, or nothing says how old they are."""
        if self.verl_mode == "sync":
            return None
        return sampler_ages(batch.tags, columns.mask, self._clock)

    def _summary(
        self, columns: Batch, completions: int, sampled: tuple[float, ...] | None
    ) -> RolloutSummary:
        """What the strategy is told of the batch."""
        ages = None
        if self.verl_mode != "sync":
            ages = entropy_ages(self._clock, sampled, bypasses(self.config))
        calls = self.total_training_steps * self.parameter_sync_step
        setup = self.config.actor_rollout_ref
        updates = verl_updates_per_rollout(
            train_batch_size=completions,
            ppo_mini_batch_size=setup.actor.ppo_mini_batch_size * setup.rollout.n,
            ppo_epochs=setup.actor.ppo_epochs,
        )
        return observed(
            columns,
            progress=self._clock.rollout / calls,
            updates=updates,
            ceiling=self._ceiling,
            ages=ages,
        )

    def _signals(self, summary: RolloutSummary) -> dict[str, float]:
        """What is logged of the batch's entropy and of the strategy."""
        signals = {"entropy": summary.entropy, "entropy_error": summary.entropy_error}
        signals |= self.controller.signals()
        return {
            PREFIX + name: value
            for name, value in signals.items()
            if value is not None and math.isfinite(value)
        }

    def _columns(self, batch: KVBatchMeta) -> Batch:
        """The batch's tokens of all ranks."""
        names = ["uid", "response_mask", "old_log_probs", "advantages", "rm_scores"]
        if not bypasses(self.config):
            names.append("entropy")
            if self.config.actor_rollout_ref.rollout.calculate_log_probs:
                names.append("rollout_log_probs")
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=str(batch.partition_id), select_fields=names
        )
        uids = data.pop("uid").tolist()
        data = data.to_padded_tensor()
        sampled = data.get("rollout_log_probs", None)
        return Batch(
            uids=uids,
            is_padding=[bool(tag.get("is_padding", False)) for tag in batch.tags],
            mask=data["response_mask"].bool(),
            old_logprobs=data["old_log_probs"].float(),
            advantages=data["advantages"].float(),
            old_entropy=data["entropy"].float() if "entropy" in data else None,
            rewards=data["rm_scores"].float().sum(1),
            sampler_logprobs=None if sampled is None else sampled.float(),
        )

    def _mark(self, batch: KVBatchMeta, columns: Batch) -> KVBatchMeta:
        """Adds to the batch what a dump says of a completion."""
        sample, group, reward = columns.labels()
        fields: dict[str, Tensor] = {SAMPLE: sample, GROUP: group, REWARD: reward}
        return tq.kv_batch_put(
            keys=batch.keys,
            partition_id=str(batch.partition_id),
            fields=TensorDict(fields, batch_size=len(batch)),
        )

    # Dumps

    @property
    def _dump_dir(self) -> Path:
        beside_checkpoints = self._checkpoints / "entrostat_dumps"
        return Path(self.options.dump_dir or beside_checkpoints).absolute()

    def _take_folder(self) -> None:
        """Makes the dump folder ready for this run. ValueError where it is another's."""
        if self.global_steps:
            # resumed: steps after the checkpoint are dumped again
            cut(self._dump_dir, self.global_steps * self.parameter_sync_step)
        elif any(self._dump_dir.glob("step-*.parquet")):
            raise ValueError(
                f"{self._dump_dir} holds dumps of another run: set policy_loss.dump_dir, "
                "or move them away"
            )

    # Checkpoints

    @property
    def _checkpoints(self) -> Path:
        return Path(self.config.trainer.default_local_dir)

    def _save_checkpoint(self) -> None:
        folder = self._checkpoints / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        # before verl's: once "latest" names this folder, our state is there
        write_state(folder / STATE_FILE, self.controller.payload())
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        if trainer.resume_mode == "resume_path":
            folder = Path(trainer.resume_from_path)
        else:
            folder = self._checkpoints / f"global_step_{self.global_steps}"
        restore(self.controller, folder)


class EntropyControlTrainer(EntropyControl, PPOTrainerSync):
    """`trainer.v1.trainer_mode=entrostat`."""

    verl_mode = "sync"


class EntropyControlColocateAsync(EntropyControl, PPOTrainerColocateAsync):
    """`trainer.v1.trainer_mode=entrostat_colocate_async`."""

    verl_mode = "colocate_async"


class EntropyControlSeparateAsync(EntropyControl, PPOTrainerSeparateAsync):
    """`trainer.v1.trainer_mode=entrostat_separate_async`."""

    verl_mode = "separate_async"


_CLASSES = (
    (EntropyControlTrainer, PPOTrainerSync),
    (EntropyControlColocateAsync, PPOTrainerColocateAsync),
    (EntropyControlSeparateAsync, PPOTrainerSeparateAsync),
)
for _ours, _verls in _CLASSES:
    check_overrides(
        _ours,
        _verls,
        ("on_init_end", "_update_actor", "_save_checkpoint", "_load_checkpoint"),
        f"verl=={TESTED_VERL}",
    )


def trainer_of(mode: str) -> type[EntropyControl]:
    """The trainer of one of our trainer modes."""
    (found,) = (ours for ours, _ in _CLASSES if ours.verl_mode == VERL_TRAINERS[mode])
    return found


def _off_policy(columns: Batch, sampled: tuple[float, ...] | None) -> dict[str, float]:
    """What is logged of the policies that sampled the batch."""
    found: dict[str, float] = {}
    if sampled is not None:
        found[f"{PREFIX}staleness"] = mean_age(sampled)
    gap = sampler_gap(columns)
    if gap is not None:
        found[f"{PREFIX}sampler_gap"] = gap
    return found


def restore(controller: Controller, folder: Path) -> None:
    """Takes the state from a checkpoint's folder. ValueError where there is none, or
    another strategy's."""
    path = folder / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{path} is missing, so the controller's state is unknown: resume from a "
            "checkpoint of entrostat's trainer, or start from the model alone "
            "(trainer.resume_mode=disable)"
        )
    controller.load(read_state(path), str(path))
