"""Runs of verl's main_ppo in a process of their own, and what they leave behind."""

import json
import subprocess
import sys

import torch
from settings import HERE, environment

from entrostat.engines.verl.trainer import STATE_FILE
from entrostat.statefile import read_state

RECORDED = "cpu_platform,cpu_rollout,recorder"


def launch(work, ranks, *overrides, **env):
    command = [sys.executable, str(HERE / "main_ppo.py"), str(work), str(ranks), *overrides]
    # a hang ends here too, and fails
    return subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=1800)


def main_ppo(work, ranks, *overrides, **env):
    done = launch(work, ranks, *overrides, **env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return work


def parameters(work, step, ranks, part="actor"):
    """Each rank's shard, in order."""
    out = []
    for rank in range(ranks):
        path = work / f"ckpt/global_step_{step}/{part}/model_world_size_{ranks}_rank_{rank}.pt"
        state = torch.load(path, weights_only=False)
        out.append({name: x.to_local() if hasattr(x, "to_local") else x for name, x in state.items()})
    return out


def same(a, b):
    assert [x.keys() for x in a] == [y.keys() for y in b]
    return all(torch.equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


def metrics(work):
    """By step."""
    rows = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["data"] for row in rows}


def verls_staleness(logged):
    """The least and the most that verl logs of a step, in training steps."""
    staleness = "training/off_policy/trajectory_staleness"
    return logged[f"{staleness}/min"], logged[f"{staleness}_worst/max"]


def calls(work, rank):
    return [json.loads(line) for line in (work / f"loss-rank{rank}.jsonl").read_text().splitlines()]


def observed(work):
    """What the controller was told, and its state before and after, in the driver's order."""
    return [json.loads(line) for line in (work / "observed.jsonl").read_text().splitlines()]


def state(work, step):
    return read_state(work / f"ckpt/global_step_{step}/{STATE_FILE}")
