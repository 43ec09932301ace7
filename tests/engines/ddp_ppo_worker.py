"""One rank of a two-process PPO run on gloo; saves what this rank's critic was given and has become.

Started by test_ppo_ddp.py.
"""

import sys

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig

from entrostat.engines.ppo import EntropyControlPPOTrainer
from entrostat.engines.trl import PREFIX
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


class Recorded(EntropyControlPPOTrainer):
    """Keeps this rank's rollouts."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.rollouts.append({**output, "rewards": self._rewards_of(output)})
        return output


def signs(completions, **_):
    return [float(text.count("*") - text.count("-")) for text in completions]


def main(folder: str) -> None:
    torch.set_num_threads(1)
    args = GRPOConfig(
        output_dir=folder,
        max_steps=4,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        steps_per_generation=4,
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
    )
    problems = TASK.problems(64, split="train", seed=0)
    trainer = Recorded(
        model=AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left"),
        reward_funcs=signs,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": p.prompt, "key": p.key, "data": p.data} for p in problems]),
        strategy="thermostat",
        critic_learning_rate=1e-3,
        gae_lambda=0.9,
    )
    trainer.rollouts, updates = [], []
    update = trainer.critic.update

    def keeping(batch, old, returns, mask, tokens):
        updates.append((batch, old, returns, mask))
        return update(batch, old, returns, mask, tokens)

    trainer.critic.update = keeping
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    log = [{k: v for k, v in line.items() if k.startswith(PREFIX)} for line in trainer.state.log_history]
    found = {"updates": updates, "rollouts": trainer.rollouts, "log": [line for line in log if line]}
    found["critic"] = trainer.critic.module.state_dict()
    torch.save(found, f"{folder}/rank{trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
