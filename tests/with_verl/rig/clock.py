"""Loaded in every process after the plug-in's parts: clocks the driver's part of an update call.

CLOCK_LOG=FILE: one line of JSON an update call, the seconds of our `_update_actor` and those of verl's within it.
"""

import json
import os
import time


def install():
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    from entrostat.engines.verl.trainer import EntropyControl

    verls, ours = PPOTrainer._update_actor, EntropyControl._update_actor
    within = []

    def clocked_verls(self, batch, metrics):
        start = time.perf_counter()
        out = verls(self, batch, metrics)
        within.append(time.perf_counter() - start)
        return out

    def clocked_ours(self, batch, metrics):
        start = time.perf_counter()
        out = ours(self, batch, metrics)
        seconds = time.perf_counter() - start
        with open(os.environ["CLOCK_LOG"], "a") as file:
            file.write(json.dumps({"ours": seconds, "verls": within.pop()}) + "\n")
        return out

    PPOTrainer._update_actor = clocked_verls
    EntropyControl._update_actor = clocked_ours


if "CLOCK_LOG" in os.environ:
    install()
