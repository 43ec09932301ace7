"""One rank of two whose model torch's FSDP2 shards over gloo; writes what came of it. Started by test_trl_fsdp.py.

accelerate shards nothing on a CPU, so the model is sharded before the trainer sees it, and the trainer is told of no
other rank: both ranks make the same rollouts, and the mean of two equal gradients is one of them.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from tiny_trl import base_model, config, logged, make, signs
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from trl import GRPOTrainer

from entrostat import make_strategy
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer


def trainer(kind, folder, **extra):
    model = base_model()
    for layer in model.model.layers:
        fully_shard(layer, reshard_after_forward=True)
    fully_shard(model, reshard_after_forward=True)
    window = {"epsilon": 0.1, "epsilon_high": 0.1}
    args = config(folder, max_steps=6, steps_per_generation=2, logging_steps=2, seed=3, **window)
    return make(kind, args, model=model, reward=signs, **extra)


def run(made):
    """What the run came to: whole parameters, and our part of its log."""
    made.train()
    parameters = dict(made.model.named_parameters())
    halves = {k: list(p.to_local().shape) != list(p.shape) for k, p in parameters.items() if isinstance(p, DTensor)}
    return {
        "weights": {k: p.full_tensor().detach() for k, p in parameters.items()},
        "sharded": sorted(k for k, half in halves.items() if half),
        "log": logged(made, PREFIX),
    }


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    constant = {"strategy": make_strategy("grpo", low=0.1, high=0.1), "attribution_share": 1.0}
    found = {
        "stock": run(trainer(GRPOTrainer, folder)),
        "constant": run(trainer(EntropyControlGRPOTrainer, folder, **constant)),
    }
    controlled = trainer(EntropyControlGRPOTrainer, folder, strategy="thermostat")
    found["thermostat"] = run(controlled)
    saved = json.loads(json.dumps(controlled.controller.payload()))
    again = trainer(EntropyControlGRPOTrainer, folder, strategy="thermostat")
    again.controller.load(saved, "saved")
    found["state"] = saved
    found["loaded"] = again.controller.payload()
    torch.save(found, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
