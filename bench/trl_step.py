"""What the thermostat costs on top of stock TRL: time and peak memory of a rollout with its updates, as ratios.

    python bench/trl_step.py              all cases, about ten minutes on two cores
    python bench/trl_step.py tiny         one case: tiny, wide, tiny-on-policy, wide-on-policy

Both trainers live in one process and take turns rollout by rollout, each turn from the same random state, so they do
the same work on the same tokens while the machine drifts alike under both. `ratio` is the ratio of median seconds, with
a 95% bootstrap interval over rollouts. Peak memory is that of a process of its own for each trainer.
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from entrostat import make_strategy
from entrostat.engines.trl import EntropyControlGRPOTrainer
from entrostat.lab.config import TrainConfig
from entrostat.lab.load import load_model
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

Floats = np.ndarray[Any, np.dtype[np.float64]]

TASK = make_task("countdown")
WARMUP = 2


def wide_model() -> tuple[Any, Any]:
    """2 layers and the vocabulary of Qwen2.5, random weights; it speaks the lab's characters and 151,914 others."""
    tokenizer = AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left")
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config), tokenizer


def build(case: str, stock: bool, rollouts: int, folder: str, callbacks: list[TrainerCallback]) -> GRPOTrainer:
    wide, on_policy = case.startswith("wide"), case.endswith("on-policy")
    model, tokenizer = wide_model() if wide else load_model(TrainConfig())
    prompts, samples, updates, length = (8, 4, 4, 24) if wide else (32, 16, 8, TASK.max_completion)
    parts = 1 if on_policy else updates
    args = GRPOConfig(
        output_dir=folder,
        max_steps=(rollouts + WARMUP) * parts,
        per_device_train_batch_size=prompts * samples // updates,
        gradient_accumulation_steps=updates // parts,
        steps_per_generation=updates,
        num_generations=samples,
        max_completion_length=length,
        learning_rate=1e-5,
        epsilon_high=0.2,
        shuffle_dataset=False,
        logging_steps=parts,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
    )
    problems = TASK.problems((rollouts + WARMUP) * prompts, split="train", seed=0)
    common: dict[str, Any] = {
        "model": model,
        "processing_class": tokenizer,
        "reward_funcs": make_reward("bernoulli:0.5", TASK, 0),
        "args": args,
        "train_dataset": Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]),
        "callbacks": callbacks,
    }
    if stock:
        trainer: GRPOTrainer = GRPOTrainer(**common)
    else:
        trainer = EntropyControlGRPOTrainer(strategy=make_strategy("thermostat", target="1x", hold="both"), **common)
    trainer.remove_callback(PrinterCallback)
    return trainer


class Turns(TrainerCallback):
    """Lets two trainers run in turn, a rollout each, and times the turns."""

    def __init__(self, mine: threading.Semaphore, theirs: threading.Semaphore, updates: int):
        self.mine, self.theirs, self.updates = mine, theirs, updates
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **_):
        if state.global_step % self.updates == 0:
            self.mine.acquire()
            torch.manual_seed(state.global_step)
            self.start = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:  # after the log: its reductions are part of the cost
            self.seconds.append(time.perf_counter() - self.start)
            self.theirs.release()


def interleaved(case: str, rollouts: int) -> dict[str, Any]:
    """Seconds a rollout of both, in turn."""
    first, second = threading.Semaphore(1), threading.Semaphore(0)
    with tempfile.TemporaryDirectory() as folder:
        updates = 1 if case.endswith("on-policy") else (4 if case.startswith("wide") else 8)
        turns = [Turns(first, second, updates), Turns(second, first, updates)]
        trainers = [build(case, stock, rollouts, folder, [t]) for stock, t in zip((True, False), turns, strict=True)]
        threads = [threading.Thread(target=t.train) for t in trainers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"rollouts": rollouts, **ratio(*(np.array(t.seconds[WARMUP:]) for t in turns))}


def ratio(stock: Floats, mine: Floats) -> dict[str, Any]:
    """Median seconds of both and their ratio, from paired turns: the same tokens, one right after the other."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(stock), (10_000, len(stock)))
    ratios = np.median(mine[draws], 1) / np.median(stock[draws], 1)
    return {
        "stock_seconds": round(float(np.median(stock)), 4),
        "entrostat_seconds": round(float(np.median(mine)), 4),
        "ratio": round(float(np.median(mine) / np.median(stock)), 4),
        "ratio_95": [round(float(x), 4) for x in np.quantile(ratios, [0.025, 0.975])],
    }


def peak(case: str, stock: bool) -> float:
    """Peak resident MiB of a process that trains three rollouts."""
    code = [sys.executable, __file__, "peak", case, "stock" if stock else "entrostat"]
    return float(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()[-1])


def train_for_peak(case: str, stock: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build(case, stock, 1, folder, []).train()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["peak"]:
        train_for_peak(sys.argv[2], sys.argv[3] == "stock")
        return
    for case in sys.argv[1:] or ["tiny", "wide", "tiny-on-policy", "wide-on-policy"]:
        result = {"case": case, **interleaved(case, 12 if case.startswith("wide") else 40)}
        stock, mine = ([peak(case, kind) for _ in range(5)] for kind in (True, False))
        result["stock_peak_mib"] = round(float(np.median(stock)), 1)
        result["entrostat_peak_mib"] = round(float(np.median(mine)), 1)
        result["peak_ratio"] = round(float(np.median(mine) / np.median(stock)), 4)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
