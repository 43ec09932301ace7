"""One GPU: a model of about 100M parameters from nothing on reasoning-gym tasks, then four methods on it, in bf16.

    python bench/gpu.py --out runs/bench-gpu > docs/results/gpu.json     hours on one GPU; the same command goes on
    python bench/gpu.py --toy --out /tmp/toy                             minutes on a CPU: the script, not a result

1. Warm start: supervised learning of right answers, with the prompts that the runs will have.
2. Runs of the lab from there, one a method, through `entrostat.lab`: entropy, mean@n, pass@k, tokens a second.
3. What the thermostat adds to stock TRL: seconds a rollout of both, in turns, each turn a trainer of its own on the
   same problems from the same seed; the ratio of medians with a 95% bootstrap interval over rollouts.

A stage that has ended is not done again: the warm start is a folder, a run resumes, the overhead is a file.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from entrostat import make_strategy
from entrostat.data.gym import gym_items
from entrostat.engines.trl import EntropyControlGRPOTrainer
from entrostat.files import write_atomic
from entrostat.lab.config import TrainConfig
from entrostat.lab.load import load_model
from entrostat.lab.methods import Method, make_method, method_name
from entrostat.lab.quiet import quiet
from entrostat.lab.rewards import make_reward
from entrostat.lab.run import Run
from entrostat.lab.scratch import random_model, train_tokenizer
from entrostat.lab.source import make_source
from entrostat.lab.train import new_run, train
from entrostat.lab.trl_config import grpo_config
from entrostat.lab.weights import placed
from entrostat.verify.gym import spell

TASKS = ("leg_counting", "gcd", "chain_sum", "number_sorting", "letter_counting", "simple_equations")


@dataclasses.dataclass(frozen=True)
class Size:
    """What differs between the bench and its toy."""

    vocabulary: int = 8192
    hidden: int = 768
    layers: int = 12
    mlp: int = 2560
    heads: int = 12
    warm_problems: int = 100_000
    warm_steps: int = 6000
    warm_batch: int = 128
    warm_rate: float = 6e-4
    rollouts: int = 200
    prompts: int = 64
    samples: int = 16
    updates: int = 8
    micro_batches: int = 1
    eval_problems: int = 256
    eval_samples: int = 32
    max_completion: int = 64
    rate: float = 2e-5
    turns: int = 4
    """Of each trainer in the overhead, and rollouts a turn."""
    turn_rollouts: int = 6


TOY = Size(320, 32, 2, 64, 4, 64, 4, 8, 1e-3, 2, 2, 4, 2, 2, 2, 2, 12, 1e-3, 2, 2)
METHODS: tuple[Method, ...] = (
    make_method("grpo"),
    make_method("clip-lower", low=0.02),
    make_method("id"),
    make_method("thermostat", target="1x", hold="both"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    if not options.toy and not torch.cuda.is_available():
        parser.error("no GPU here: --toy runs the script at toy size on a CPU, and measures nothing")
    size = TOY if options.toy else Size()
    quiet()
    options.out.mkdir(parents=True, exist_ok=True)
    warm = warm_start(size, options.out / "warm")
    runs = {method_name(method): trained(size, warm, method, options.out) for method in METHODS}
    result = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU",
        "torch": torch.__version__,
        "toy": options.toy,
        "size": dataclasses.asdict(size),
        "tasks": TASKS,
        "parameters": sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(warm).parameters()),
        "runs": runs,
        "overhead": overhead(size, warm, options.out),
    }
    print(json.dumps(result, indent=1))


# The warm start


def warm_start(size: Size, folder: Path) -> Path:
    """The folder of the model that all runs start from."""
    if folder.is_dir():
        return folder
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".warm."))
    some = list(itertools.islice(gym_items(list(TASKS), 0), 4000))
    seen = [item.problem for item in some] + [spell(item.answer) for item in some]
    tokenizer = train_tokenizer(seen, size.vocabulary)
    tokenizer.save_pretrained(aside)
    model = random_model(tokenizer, hidden=size.hidden, layers=size.layers, mlp=size.mlp, heads=size.heads)
    supervise(placed(model), tokenizer, size, aside)
    model.save_pretrained(aside)
    os.replace(aside, folder)
    return folder


def supervise(model: Any, tokenizer: Any, size: Size, folder: Path) -> None:
    """Cross-entropy of right answers; AdamW, the learning rate rises over a twentieth and falls to 0 in a line."""
    source = make_source(config_of(size, folder), tokenizer)
    drawn, rng = source.problems(size.warm_problems, split="train", seed=1), random.Random(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.warm_rate, weight_decay=0.1)
    rise = max(1, size.warm_steps // 20)
    factor = lambda step: min((step + 1) / rise, 1 - step / size.warm_steps)  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    for _ in range(size.warm_steps):
        ids, labels = (x.to(model.device) for x in pairs(tokenizer, rng.sample(drawn, size.warm_batch)))
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=ids != tokenizer.pad_token_id).logits
        loss = cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def pairs(tokenizer: Any, problems: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of prompt, answer and end, padded on the right; the prompt has no loss."""
    rows = []
    for problem in problems:
        answer = [*tokenizer(spell(problem.data["answer"]))["input_ids"], tokenizer.eos_token_id]
        rows.append((tokenizer(problem.prompt)["input_ids"], answer))
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for row, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


# The runs


def config_of(size: Size, warm: Path, **changes: Any) -> TrainConfig:
    """Options of a run on the warm model."""
    options: dict[str, Any] = {
        "steps": size.rollouts,
        "seed": 1,
        "learning_rate": size.rate,
        "updates_per_rollout": size.updates,
        "micro_batches": size.micro_batches,
        "prompts": size.prompts,
        "samples": size.samples,
        "dataset": f"gym:{','.join(TASKS)}",
        "max_completion": size.max_completion,
        "model": str(warm),
        "eval_problems": size.eval_problems,
        "eval_samples": size.eval_samples,
        "map_every": 0,
        "threads": os.cpu_count() if torch.cuda.is_available() else 1,
        "grpo": {"bf16": True},
    }
    return TrainConfig(**{**options, **changes})


def trained(size: Size, warm: Path, method: Method, out: Path) -> dict[str, Any]:
    """Trains, or goes on, or only reads: scores, entropy by rollout, tokens a second."""
    folder = out / method_name(method)
    run = Run.open(folder) if folder.exists() else new_run(config_of(size, warm), method, folder)
    summary = train(run)
    if summary is None:
        raise SystemExit(f"stopped; the same command goes on in {out}")
    lines, clock = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "timing.jsonl")
    )
    tokens = sum(line["completion_length"] for line in lines) * size.prompts * size.samples
    return {
        "entropy": [line["entropy"] for line in lines],
        "tokens_per_second": tokens / sum(line["seconds"] for line in clock),
        **{key: summary[key] for key in (f"mean@{size.eval_samples}", "pass@k", "entropy_start", "entropy_end")},
        "start": {key: summary["start"][key] for key in (f"mean@{size.eval_samples}", "pass@k")},
    }


# What it costs over stock TRL


class Clock(TrainerCallback):
    """Seconds of each rollout with its updates, log included."""

    def __init__(self, updates: int):
        self.updates, self.seconds, self.begin = updates, [], 0.0

    def on_step_begin(self, args, state, control, **_):
        if state.global_step % self.updates == 0:
            self.begin = now()

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            self.seconds.append(now() - self.begin)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def turn(size: Size, warm: Path, stock: bool, seed: int, folder: Path) -> list[float]:
    """Seconds of each rollout of a trainer of its own; the first, which warms up, is left out."""
    config = config_of(size, warm, steps=size.turn_rollouts, seed=seed)
    model, tokenizer = load_model(config)
    source, clock = make_source(config, tokenizer), Clock(size.updates)
    problems = source.problems(config.steps * config.prompts, split="train", seed=seed)
    common: dict[str, Any] = {
        "model": placed(model),
        "processing_class": tokenizer,
        "reward_funcs": make_reward("bernoulli:0.5", source, seed),
        "args": grpo_config(config, folder, {"save_strategy": "no"}),
        "train_dataset": Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]),
        "callbacks": [clock],
    }
    ours = lambda: EntropyControlGRPOTrainer(strategy=make_strategy("thermostat", target="1x", hold="both"), **common)  # noqa: E731
    trainer = GRPOTrainer(**common) if stock else ours()
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.seconds[1:]


def overhead(size: Size, warm: Path, out: Path) -> dict[str, Any]:
    """The thermostat over stock TRL."""
    known = out / "overhead.json"
    if known.is_file():
        return json.loads(known.read_text())
    seconds: dict[bool, list[float]] = {True: [], False: []}
    folder = Path(tempfile.mkdtemp(dir=out))
    order = random.Random(0)
    for seed in range(size.turns):
        for stock in order.sample((True, False), 2):
            seconds[stock] += turn(size, warm, stock, seed, folder)
    shutil.rmtree(folder)
    stock, mine = np.array(seconds[True]), np.array(seconds[False])
    draws = np.random.default_rng(0).integers(0, len(stock), (10_000, len(stock)))
    ratios = np.median(mine[draws], 1) / np.median(stock[draws], 1)
    result = {
        "rollouts": len(stock),
        "stock_seconds": float(np.median(stock)),
        "entrostat_seconds": float(np.median(mine)),
        "ratio": float(np.median(mine) / np.median(stock)),
        "ratio_95": [float(x) for x in np.quantile(ratios, [0.025, 0.975])],
    }
    write_atomic(known, json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
