"""One rank of a two-process asynchronous run on gloo; writes what this rank saw, as JSON. Started by
test_trl_async_ddp.py."""

import json
import sys

from tiny_async import PROMPTS, SAMPLES, Worker, config, make
from tiny_trl import logged

from entrostat import make_strategy
from entrostat.engines.trl_async import EntropyControlAsyncGRPOTrainer


class Recorded(EntropyControlAsyncGRPOTrainer):
    """Keeps how many tokens this rank has trained on in each micro-batch."""

    tokens: list

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.tokens.append(int((inputs["token_index"] >= 0).sum()))
        return super().compute_loss(model, inputs, *args, **kwargs)


def run(folder, processes):
    """Three updates of two micro-batches, the same samples whatever the number of processes."""
    size = PROMPTS * SAMPLES // 2 // processes
    args = config(
        folder, max_steps=3, per_device_train_batch_size=size, gradient_accumulation_steps=2, learning_rate=1e-4
    )
    strategy = make_strategy("thermostat", target="2x", hold="both")
    trainer = make(Recorded, args, worker=Worker(noise=0.1, lags=(0, 1)), strategy=strategy)
    trainer.tokens = []
    trainer.train()
    return {
        "tokens": trainer.tokens,
        "state": trainer.controller_state._asdict(),
        "log": logged(trainer, "entrostat/"),
        "weight": float(next(trainer.model.parameters()).detach().double().abs().sum()),
        "rank": trainer.accelerator.process_index,
    }


def main(folder):
    found = run(folder, 2)
    with open(f"{folder}/rank{found['rank']}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1])
