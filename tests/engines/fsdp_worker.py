"""One rank of two whose model torch's FSDP2 shards over gloo; writes what came of it. Started by test_trl_fsdp.py.

accelerate shards nothing on a CPU, so the model is sharded before the trainer sees it, and the trainer is told of no
other rank: both ranks make the same rollouts, and the mean of two equal gradients is one of them.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from datasets import Dataset
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from entrostat import make_strategy
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


def signs(completions, **_):
    return [float(text.count("*") - text.count("-")) for text in completions]


def trainer(kind, folder, **extra):
    model = AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32)
    for layer in model.model.layers:
        fully_shard(layer, reshard_after_forward=True)
    fully_shard(model, reshard_after_forward=True)
    args = GRPOConfig(
        output_dir=str(folder),
        max_steps=6,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        steps_per_generation=2,
        num_generations=4,
        max_completion_length=TASK.max_completion,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        shuffle_dataset=False,
        logging_steps=2,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
        epsilon=0.1,
        epsilon_high=0.1,
        seed=3,
    )
    problems = TASK.problems(64, split="train", seed=0)
    made = kind(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
        reward_funcs=signs,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": p.prompt} for p in problems]),
        **extra,
    )
    made.remove_callback(PrinterCallback)
    return made


def run(made):
    """What the run came to: whole parameters, and our part of its log."""
    made.train()
    parameters = dict(made.model.named_parameters())
    halves = {k: list(p.to_local().shape) != list(p.shape) for k, p in parameters.items() if isinstance(p, DTensor)}
    ours = [{k: v for k, v in line.items() if k.startswith(PREFIX)} for line in made.state.log_history]
    return {
        "weights": {k: p.full_tensor().detach() for k, p in parameters.items()},
        "sharded": sorted(k for k, half in halves.items() if half),
        "log": [line for line in ours if line],
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
