"""One rank of a two-process PPO run on gloo whose ranks differ: completions of rank 1 are short, and rank 0 logs alone.
The LM head has logits of -inf.

Started by test_trl_ddp.py. Without agreement between the ranks it hangs, or its ranks make unequal numbers of passes.
"""

import json
import math
import sys

import torch
from datasets import Dataset
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOTrainer
from trl.trainer.grpo_config import GRPOConfig

from entrostat.engines import lm_head
from entrostat.engines.ppo import CriticMixin
from entrostat.engines.trl import PREFIX, EntropyControlMixin
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task
from entrostat.strategies.thermostat import Thermostat

TASK = make_task("countdown")
SHORT = 3


class OnOneRank(GRPOTrainer):
    """Hands on old log-probabilities that are a copy on rank 1, as resampling there would."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.accelerator.process_index:
            output["old_per_token_logps"] = output["old_per_token_logps"].clone()
        self.widths.append(output["completion_ids"].size(1))
        return output


class Uneven(EntropyControlMixin, CriticMixin, OnOneRank):
    widths: list


class LogsAlone(TrainerCallback):
    """Rank 0 logs a number of its own in the middle of a window."""

    def __init__(self):
        self.trainer = None

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2 and state.is_world_process_zero:
            self.trainer.log({"own": 1.0})


def main(folder: str) -> None:
    torch.set_num_threads(1)
    args = GRPOConfig(
        output_dir=folder,
        max_steps=8,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        steps_per_generation=4,
        num_generations=4,
        max_completion_length=TASK.max_completion,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        shuffle_dataset=False,
        logging_steps=4,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
    )
    problems = TASK.problems(64, split="train", seed=0)
    alone = LogsAlone()
    trainer = Uneven(
        model=AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
        reward_funcs=make_reward("true", TASK, 0),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]),
        callbacks=[alone],
        strategy=Thermostat(tilt="bracket"),
    )
    alone.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    bias = torch.zeros(trainer.model.config.vocab_size)
    bias[-3:] = -math.inf  # , > = which no completion of the task has
    trainer.model.lm_head.bias = nn.Parameter(bias)
    rank = trainer.accelerator.process_index
    if rank:
        trainer.generation_config.max_new_tokens = SHORT
    # a pass of one row at the long width would be one of two rows at the short one
    lm_head.LOGITS = 2 * (SHORT + 1) * trainer.model.config.vocab_size
    trainer.widths, passes = [], []
    trainer.model.register_forward_pre_hook(lambda _model, _args, given: passes.append(sorted(given)), with_kwargs=True)
    trainer.train()
    sums = [len(given) for given in passes if "logits_to_keep" in given and "past_key_values" not in given]
    scored = sum("fused_lm_head" in given for given in passes)
    log = [{k: v for k, v in line.items() if k.startswith((PREFIX, "own"))} for line in trainer.state.log_history]
    found = {"widths": trainer.widths, "sums": len(sums), "scored": scored, "log": [line for line in log if line]}
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
