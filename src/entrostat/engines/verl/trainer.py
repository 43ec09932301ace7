"""On the driver: observes once a training step, hands the state to all ranks, and keeps it with verl's checkpoints.

It overrides four methods of verl's synchronous trainer, each calling super, and tells the ranks by `extra_info`, which
verl carries to them with the batch.
"""

import json
import math
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass

from entrostat.dump import cut
from entrostat.engines.controller import controller_payload, load_state
from entrostat.engines.verl.checks import bypasses, checked_options
from entrostat.engines.verl.dump import GROUP, REWARD, SAMPLE, StepDump
from entrostat.engines.verl.loss import KEY, ControlledLoss
from entrostat.engines.verl.metrics import PREFIX, step_means
from entrostat.engines.verl.observe import Batch, observed
from entrostat.statefile import read_state, write_state
from entrostat.strategies import Strategy, state_to_json
from entrostat.trainers import verl_updates_per_rollout

STATE_FILE = "entrostat_state.json"


class EntropyControlTrainer(PPOTrainerSync):
    """verl's synchronous trainer, whose clip bounds a strategy sets. `trainer.v1.trainer_mode=entrostat`.

    Raises ValueError at the start for what `checks` refuses, and on resuming for a checkpoint without our state, or
    with that of another strategy.
    """

    def __init__(self, config: DictConfig):
        self.options = checked_options(config)
        with open_dict(config):
            config.trainer.v1.trainer_mode = (
                "sync"  # verl compares this string in several places
            )
        self.strategy = self.options.make()
        self.controller_state = self.strategy.init()
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

    # One training step

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        columns = self._columns(batch)
        actor = self.config.actor_rollout_ref.actor
        samples = self.config.actor_rollout_ref.rollout.n
        updates = verl_updates_per_rollout(
            train_batch_size=len(batch),
            ppo_mini_batch_size=actor.ppo_mini_batch_size * samples,
            ppo_epochs=actor.ppo_epochs,
        )
        summary = observed(
            columns,
            progress=(self.global_steps - 1) / self.total_training_steps,
            updates=updates,
            ceiling=self._ceiling,
        )
        self.controller_state = self.strategy.observe(self.controller_state, summary)
        told: dict[str, Any] = {
            "state": state_to_json(self.controller_state),
            "step": self.global_steps - 1,
            "dump": 0,
        }
        if self.options.dump_every and told["step"] % self.options.dump_every == 0:
            batch = self._mark(batch, columns)
            told["dump"] = len(batch) * actor.ppo_epochs
        batch.extra_info = (batch.extra_info or {}) | {KEY: json.dumps(told)}
        batch = super()._update_actor(batch, metrics)
        signals = {"entropy": summary.entropy, "entropy_error": summary.entropy_error}
        signals |= self.strategy.signals(self.controller_state)
        metrics |= {
            PREFIX + name: x
            for name, x in signals.items()
            if x is not None and math.isfinite(x)
        }
        metrics |= step_means(metrics)
        return batch

    def _columns(self, batch: KVBatchMeta) -> Batch:
        """The step's tokens of all ranks."""
        names = ["uid", "response_mask", "old_log_probs", "advantages", "rm_scores"]
        names += [] if bypasses(self.config) else ["entropy"]
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=str(batch.partition_id), select_fields=names
        )
        uids = data.pop("uid").tolist()
        data = data.to_padded_tensor()
        return Batch(
            uids,
            [bool(tag.get("is_padding", False)) for tag in batch.tags],
            data["response_mask"].bool(),
            data["old_log_probs"].float(),
            data["advantages"].float(),
            data["entropy"].float() if "entropy" in data else None,
            data["rm_scores"].float().sum(1),
        )

    def _mark(self, batch: KVBatchMeta, columns: Batch) -> KVBatchMeta:
        """Adds to the batch what a dump says of a completion."""
        fields: dict[str, Tensor] = dict(
            zip((SAMPLE, GROUP, REWARD), columns.labels(), strict=True)
        )
        return tq.kv_batch_put(
            keys=batch.keys,
            partition_id=str(batch.partition_id),
            fields=TensorDict(fields, batch_size=len(batch)),
        )

    # Checkpoints

    @property
    def _dump_dir(self) -> Path:
        return Path(
            self.options.dump_dir
            or Path(self.config.trainer.default_local_dir) / "entrostat_dumps"
        ).absolute()

    def _take_folder(self) -> None:
        if self.global_steps:
            cut(self._dump_dir, self.global_steps)
        elif any(self._dump_dir.glob("step-*.parquet")):
            raise ValueError(
                f"{self._dump_dir} holds dumps of another run: set policy_loss.dump_dir, or move them away"
            )

    def _save_checkpoint(self) -> None:
        folder = (
            Path(self.config.trainer.default_local_dir)
            / f"global_step_{self.global_steps}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        # before verl's: once "latest" names this folder, our state is there
        write_state(
            folder / STATE_FILE,
            controller_payload(self.strategy, self.controller_state, None, None),
        )
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        folder = Path(trainer.default_local_dir) / f"global_step_{self.global_steps}"
        resumed_from = (
            Path(trainer.resume_from_path)
            if trainer.resume_mode == "resume_path"
            else folder
        )
        self.controller_state = restored(self.strategy, resumed_from)


def restored(strategy: Strategy, folder: Path) -> Any:
    """The state in a checkpoint's folder. ValueError where there is none, or another strategy's."""
    path = folder / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{path} is missing, so the controller's state is unknown: resume from a checkpoint of "
            "trainer_mode=entrostat, or start from the model alone (trainer.resume_mode=disable)"
        )
    return load_state(strategy, read_state(path), "strategy", str(path))
