"""One rank of a two-process run on gloo; prints what this rank saw, as JSON. Started by test_trl_ddp.py."""

import json
import sys

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig

from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


class Recorded(EntropyControlGRPOTrainer):
    """Keeps this rank's own sums of entropy and tokens, and its own clip events."""

    rollouts: list

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"].bool()
        entropy = output["entrostat_old_entropy"]
        self.rollouts.append([float(entropy[mask].double().sum()), int(mask.sum()), self.controller_state._asdict()])
        return output


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
    trainer = Recorded(
        model=AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
        reward_funcs=make_reward("true", TASK, 0),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]),
        strategy="thermostat",
        attribution_share=1.0,
        dump_every=1,
        dump_dir=f"{folder}/dump",
    )
    trainer.rollouts = []
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    ours = [{k: v for k, v in line.items() if k.startswith(PREFIX)} for line in trainer.state.log_history]
    found = {"rank": trainer.accelerator.process_index, "rollouts": trainer.rollouts, "log": [x for x in ours if x]}
    with open(f"{folder}/rank{found['rank']}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
