"""The tiny run of TRL that the tests here share, in their own process and in the ranks that they start: a lab's base
model, its problems, and settings under which ratios leave the window within a rollout."""

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig

from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


def config(folder, **changes):
    """A GRPOConfig on a CPU, four samples of a prompt and four updates of a rollout unless `changes` says otherwise."""
    fields = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 4,
        "num_generations": 4,
        "max_completion_length": TASK.max_completion,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "shuffle_dataset": False,
        "logging_steps": 4,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return GRPOConfig(**(fields | changes))


def base_model():
    return AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32)


def make(kind, args, *, problems=64, model=None, reward=None, **extra):
    """A trainer of this class on one thread, which prints nothing; by the task's own reward unless there is another."""
    torch.set_num_threads(1)
    rows = [{"prompt": p.prompt, "key": p.key, "data": p.data} for p in TASK.problems(problems, split="train", seed=0)]
    made = kind(
        model=base_model() if model is None else model,
        processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
        reward_funcs=reward or make_reward("true", TASK, 0),
        args=args,
        train_dataset=Dataset.from_list(rows),
        **extra,
    )
    made.remove_callback(PrinterCallback)
    return made


def signs(completions, **_):
    """A reward that differs between completions and trains."""
    return [float(text.count("*") - text.count("-")) for text in completions]


def logged(trainer, *prefixes):
    """The lines of the trainer's log, of what begins like this alone; without empty ones."""
    lines = [{k: v for k, v in line.items() if k.startswith(prefixes)} for line in trainer.state.log_history]
    return [line for line in lines if line]
