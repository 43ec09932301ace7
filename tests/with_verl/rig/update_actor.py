"""verl's real ActorRolloutRefWorker.update_actor on N ranks with gloo, without Ray: python update_actor.py CASES.json

CASES.json: {"model", "out", "ranks", "cases": {name: {"overrides": [...], "state": {...} or null}}}. Each case starts
from the same weights and makes four mini-batches' updates (two epochs) on the same off-policy batch. A case with a
state runs the plug-in's loss. out-rankN.pt holds, by case, the parameters, and what the loss was given and set.
"""

import json
import os
import socket
import sys
from typing import NamedTuple

from settings import ACTOR, model

ROWS, MINI = 8, 4


class Shape(NamedTuple):
    """How large the batch is, and its mini- and micro-batches."""

    rows: int = ROWS
    prompt: int = 4
    response: int = 6
    vocabulary: int = 64
    mini: int = MINI
    micro: int = 2


def batch(shape=None):
    import torch
    from verl import DataProto

    shape = shape or Shape()
    draw = torch.Generator().manual_seed(7)
    n, p, r = shape[:3]
    prompt_lengths = torch.randint(2, p + 1, (n,), generator=draw)
    lengths = torch.randint(2, r + 1, (n,), generator=draw)
    prompts = torch.randint(4, shape.vocabulary, (n, p), generator=draw)
    responses = torch.randint(4, shape.vocabulary, (n, r), generator=draw)
    prompt_mask = (torch.arange(p)[None] >= (p - prompt_lengths)[:, None]).long()
    mask = (torch.arange(r)[None] < lengths[:, None]).long()
    attention = torch.cat([prompt_mask, mask], 1)
    tensors = {
        "prompts": prompts * prompt_mask,
        "responses": responses * mask,
        "input_ids": torch.cat([prompts, responses], 1) * attention,
        "attention_mask": attention,
        "response_mask": mask,
        "position_ids": (attention.cumsum(1) - 1).clamp(min=0),
        "advantages": torch.randn(n, 1, generator=draw).expand(n, r) * mask,
    }
    return DataProto.from_dict(tensors=tensors, meta_info={"temperature": 1.0})


class Case:
    """One case on this rank: verl's worker, and its share of the batch with the old policy's columns."""

    def __init__(self, case, path, shape=None):
        from hydra import compose, initialize_config_module
        from verl.utils.config import omega_conf_to_dataclass
        from verl.workers.engine_workers import ActorRolloutRefWorker

        from entrostat.engines.verl.loss import ControlledLoss

        self.shape = shape or Shape()
        fixed = [
            f"{ACTOR}.ppo_mini_batch_size={self.shape.mini}",
            f"{ACTOR}.ppo_micro_batch_size_per_gpu={self.shape.micro}",
            f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={self.shape.micro}",
            "actor_rollout_ref.rollout.name=hf",
            f"{ACTOR}.optim.total_training_steps=10",
        ]
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=[*model(path), *fixed, *case["overrides"]])
        self.state = case["state"]
        self.worker = ActorRolloutRefWorker(config=config.actor_rollout_ref, role="actor")
        self.worker.init_model()
        if self.state is not None:
            self.worker.set_loss_fn(ControlledLoss(omega_conf_to_dataclass(config.actor_rollout_ref.actor), None))
        self._add_old_policy()

    def _add_old_policy(self):
        import torch
        from verl.utils import tensordict_utils as tu
        from verl.workers.utils.padding import left_right_2_no_padding, no_padding_2_padding

        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        n = self.shape.rows
        rows = slice(rank * n // ranks, (rank + 1) * n // ranks)  # what Ray's dispatch would give this rank
        self.mine = batch(self.shape)[rows]
        data = left_right_2_no_padding(self.mine.to_tensordict())
        tu.assign_non_tensor(data, calculate_entropy=True, compute_loss=False)
        said = self.worker.compute_log_prob(data)
        old, entropy = (no_padding_2_padding(tu.get(said, name), data).float() for name in ("log_probs", "entropy"))
        # off-policy, so that ratios are not 1 and the window acts
        noise = torch.randn(n, old.shape[1], generator=torch.Generator().manual_seed(3))[rows] * 0.3
        mask = self.mine.batch["response_mask"]
        self.mine.batch["old_log_probs"] = (old + noise) * mask
        self.mine.batch["entropy"] = entropy
        self.first = {"old": old, "entropy": entropy, "mask": mask.bool()}

    def update(self):
        """Two epochs of mini-batches, and verl's metrics of them."""
        from verl.utils import tensordict_utils as tu
        from verl.workers.utils.padding import left_right_2_no_padding

        from entrostat.engines.verl.loss import KEY

        data = left_right_2_no_padding(self.mine.to_tensordict())
        settings = {"calculate_entropy": True, "epochs": 2, "seed": 42, "dataloader_kwargs": {"shuffle": False}}
        if self.state is not None:
            settings[KEY] = json.dumps({"state": self.state, "step": 0, "dump": 0})
        mini = self.shape.mini
        tu.assign_non_tensor(data, global_batch_size=mini, mini_batch_size=mini, compute_loss=True, **settings)
        return tu.get(self.worker.update_actor(data), "metrics")


def run(case, path):
    """One case with what the loss was given and set, by micro-batch."""
    from entrostat.engines.verl.loss import MicroBatch

    prepared, seen, stock = Case(case, path), [], MicroBatch.set_bounds

    def recording(self, old_logprobs, advantages, mask):
        low, high = stock(self, old_logprobs, advantages, mask)
        seen.append((old_logprobs, self.old_entropy, advantages, mask, low, high))
        return low, high

    MicroBatch.set_bounds = recording
    try:
        metrics = prepared.update()
    finally:
        MicroBatch.set_bounds = stock
    weights = prepared.worker.actor.engine.get_per_tensor_param()[0]
    parameters = {name: value.detach().clone() for name, value in weights}
    return {"parameters": parameters, "seen": seen, "metrics": dict(metrics), "first": prepared.first}


def rank_main(rank, job, port):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(job["ranks"]), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_WORLD_SIZE=str(job["ranks"]))
    import torch
    import verl  # noqa: F401  (the platform, and the plug-in)

    torch.set_num_threads(1)
    out = {name: run(case, job["model"]) for name, case in job["cases"].items()}
    torch.save(out, f"{job['out']}-rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        job = json.load(file)
    port = free_port()
    if job["ranks"] == 1:
        rank_main(0, job, port)
    else:
        import torch.multiprocessing

        torch.multiprocessing.spawn(rank_main, args=(job, port), nprocs=job["ranks"])
