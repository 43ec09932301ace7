"""One rank of a two-process PPO run on gloo; saves what this rank's critic was given and has become.

Started by test_ppo_ddp.py.
"""

import sys

import torch
from tiny_trl import config, logged, make, signs

from entrostat.engines.ppo import EntropyControlPPOTrainer
from entrostat.engines.trl import PREFIX


class Recorded(EntropyControlPPOTrainer):
    """Keeps this rank's rollouts."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.rollouts.append({**output, "rewards": self._rewards_of(output)})
        return output


def main(folder: str) -> None:
    args = config(folder, max_steps=4, per_device_train_batch_size=4, gradient_accumulation_steps=2, logging_steps=2)
    trainer = make(Recorded, args, reward=signs, strategy="thermostat", critic_learning_rate=1e-3, gae_lambda=0.9)
    trainer.rollouts, updates = [], []
    update = trainer.critic.update

    def keeping(batch, old, returns, mask, tokens):
        updates.append((batch, old, returns, mask))
        return update(batch, old, returns, mask, tokens)

    trainer.critic.update = keeping
    trainer.train()
    found = {"updates": updates, "rollouts": trainer.rollouts, "log": logged(trainer, PREFIX)}
    found["critic"] = trainer.critic.module.state_dict()
    torch.save(found, f"{folder}/rank{trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
