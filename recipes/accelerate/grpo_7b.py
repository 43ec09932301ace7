"""A 7B model under the thermostat: TRL, vLLM on the training GPUs, and FSDP2 or ZeRO-3 by accelerate's config file.

    accelerate launch --config_file recipes/accelerate/fsdp2.yaml recipes/accelerate/grpo_7b.py

It needs `pip install -e '.[train,vllm]'`, and deepspeed under zero3.yaml. DATA is a JSON Lines file with a prompt
and an answer in each line. It was not run on GPUs here: the files were read, built and checked by accelerate and TRL.
"""

import re
from typing import Any

MODEL = "Qwen/Qwen2.5-Math-7B"
DATA = "train.jsonl"
# 8 GPUs x 16 completions an update, 8 updates a rollout: 64 prompts of 16 completions
CONFIG: dict[str, Any] = {
    "output_dir": "runs/grpo-7b",
    "max_steps": 1600,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 4,
    "steps_per_generation": 32,
    "num_generations": 16,
    "max_completion_length": 3072,
    "learning_rate": 1e-6,
    "lr_scheduler_type": "constant",
    "bf16": True,
    "gradient_checkpointing": True,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_gpu_memory_utilization": 0.3,
    "save_steps": 80,
    "logging_steps": 8,
}


def boxed(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    """1 where the last \\boxed{...} without braces inside is the answer to the letter."""
    found = [re.findall(r"\\boxed\{([^{}]*)\}", text) for text in completions]
    return [float(bool(one) and one[-1].strip() == right) for one, right in zip(found, answer, strict=True)]


def main() -> None:
    from datasets import load_dataset
    from trl import GRPOConfig

    from entrostat import make_strategy
    from entrostat.engines.trl import EntropyControlGRPOTrainer

    trainer = EntropyControlGRPOTrainer(
        strategy=make_strategy("thermostat", target="0.4x"),
        # the LM head is sharded: no full-vocabulary sums, so no sample of them
        attribution_share=0.0,
        model=MODEL,
        reward_funcs=boxed,
        args=GRPOConfig(**CONFIG),
        train_dataset=load_dataset("json", data_files=DATA, split="train"),
    )
    trainer.train()


if __name__ == "__main__":
    main()
