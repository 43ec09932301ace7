"""One rank of a two-process PPO run on gloo whose ranks differ: completions of rank 1 are short, and rank 0 logs alone.
The LM head has logits of -inf.

Started by test_trl_ddp.py. Without agreement between the ranks it hangs, or its ranks make unequal numbers of passes.
"""

import json
import math
import sys

import torch
from tiny_trl import config, logged, make
from torch import nn
from transformers import TrainerCallback
from trl import GRPOTrainer

from entrostat.engines import lm_head
from entrostat.engines.ppo import CriticMixin
from entrostat.engines.trl import PREFIX, EntropyControlMixin
from entrostat.strategies.thermostat import Thermostat

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
    alone = LogsAlone()
    trainer = make(Uneven, config(folder, max_steps=8), callbacks=[alone], strategy=Thermostat(tilt="bracket"))
    alone.trainer = trainer
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
    log = logged(trainer, PREFIX, "own")
    found = {"widths": trainer.widths, "sums": len(sums), "scored": scored, "log": log}
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
