"""What the thermostat costs on top of TRL's stock AsyncGRPOTrainer: time of an optimizer step, as a ratio.

    python bench/trl_async_step.py          steps of one micro-batch of 256 completions, and of four
    python bench/trl_async_step.py 60       that many steps of each

On a CPU, by the rig of the tests (tests/engines/tiny_async.py): the lab's model, completions that were sampled
beforehand, plain attention where TRL's needs a GPU. Nobody generates meanwhile, so a step is packing, forward pass,
backward pass and AdamW alone. Both trainers live in one process and take turns step by step, each on the same samples.
Seconds are the process's own, so that other load counts little.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from transformers import TrainerCallback

from entrostat import make_strategy
from entrostat.engines.trl_async import EntropyControlAsyncGRPOTrainer
from trl_step import ratio

RIG = Path(__file__).parents[1] / "tests/engines"
COMPLETIONS = 256
WARMUP = 3


class Turns(TrainerCallback):
    """Lets two trainers run in turn, a step each, and times the turns. A turn holds the fetching of the next batch."""

    def __init__(self, mine: threading.Semaphore, theirs: threading.Semaphore):
        self.mine, self.theirs = mine, theirs
        self.seconds: list[float] = []

    def on_train_begin(self, args, state, control, **_):
        self._begin()

    def on_log(self, args, state, control, logs=None, **_):
        # after the log: its reductions are part of the cost
        self.seconds.append(time.process_time() - self.start)
        self.theirs.release()
        if state.global_step < state.max_steps:
            self._begin()

    def _begin(self):
        self.mine.acquire()
        self.start = time.process_time()


def interleaved(micro_batches: int, steps: int) -> dict[str, Any]:
    """Seconds a step of both, in turn."""
    import tiny_async  # pyright: ignore[reportMissingImports]

    # no two completions of a step alike: TRL forwards tokens that several share once
    tiny_async.PROMPTS = COMPLETIONS // tiny_async.SAMPLES
    first, second = threading.Semaphore(1), threading.Semaphore(0)
    turns = [Turns(first, second), Turns(second, first)]
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "max_steps": steps + WARMUP,
            "per_device_train_batch_size": COMPLETIONS // micro_batches,
            "gradient_accumulation_steps": micro_batches,
            "learning_rate": 1e-5,
        }
        kinds = [(tiny_async.AsyncGRPOTrainer, {}), (EntropyControlAsyncGRPOTrainer, {})]
        kinds[1][1]["strategy"] = make_strategy("thermostat", target="1x", hold="both")
        trainers = [
            tiny_async.make(kind, tiny_async.config(folder, **common), callbacks=[turn], **extra)
            for (kind, extra), turn in zip(kinds, turns, strict=True)
        ]
        threads = [threading.Thread(target=trainer.train) for trainer in trainers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = ratio(*(np.array(turn.seconds[WARMUP : WARMUP + steps]) for turn in turns))
    return {"micro_batches": micro_batches, "completions": COMPLETIONS, "steps": steps, **found}


def main() -> None:
    transformers.logging.set_verbosity_error()
    sys.path.insert(0, str(RIG))
    steps = int(sys.argv[1]) if sys.argv[1:] else 40
    for micro_batches in (1, 4):
        print(json.dumps(interleaved(micro_batches, steps)), flush=True)


if __name__ == "__main__":
    main()
