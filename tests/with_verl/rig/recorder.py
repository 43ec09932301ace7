"""Loaded in every process after the plug-in's parts: writes down what was done, and dies where it is told to.

RIG_LOG=FOLDER: one line of JSON a loss call in loss-rankN.jsonl, and one an observation in observed.jsonl.
RIG_DIE=ROLLOUT: rank 1 kills itself in that rollout.
"""

import json
import os
import signal
from pathlib import Path

import torch


def install():
    from verl.utils import tensordict_utils as tu

    from entrostat.engines.controller import Controller
    from entrostat.engines.verl.loss import KEY, ControlledLoss

    stock_observe = Controller.observe

    def observe(self, summary):
        before = self.payload()["state"]
        stock_observe(self, summary)
        line = {"before": before, "after": self.payload()["state"], "summary": summary._asdict()}
        with (Path(os.environ["RIG_LOG"]) / "observed.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    Controller.observe = observe

    stock = ControlledLoss.__call__

    def call(self, model_output, data, dp_group=None):
        out = stock(self, model_output, data, dp_group)
        rank, told = torch.distributed.get_rank(), json.loads(tu.get_non_tensor_data(data, KEY, None))
        with (Path(os.environ["RIG_LOG"]) / f"loss-rank{rank}.jsonl").open("a") as file:
            file.write(json.dumps({"step": told["step"], "state": told["state"], "rows": len(data)}) + "\n")
        if rank == 1 and told["step"] == int(os.environ.get("RIG_DIE", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        return out

    ControlledLoss.__call__ = call


if "RIG_LOG" in os.environ:
    install()
