"""What the plug-in costs in verl, as ratios to verl's vanilla policy loss. In the verl environment (make test-verl):

    python bench/verl_loss.py             the policy-loss call, 64 x 4,096 tokens
    python bench/verl_loss.py step        verl's whole update_actor on the lab's countdown model (.64M parameters):
                                          two epochs of 4 mini-batches of 64 completions, 20 + 24 tokens
    python bench/verl_loss.py step tiny   the same on the tests' model (35,000 parameters), 2 x 10 tokens a micro-batch:
                                          what is left is the cost of single calls

Both sides live in one process and take turns, each turn on the same tokens, so the machine drifts alike under both.
A call is forward and backward, on one thread. Seconds are the process's own, so that other load counts little.
`ratio` is the ratio of median seconds, with a 95% bootstrap interval over repeats.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

RIG = Path(__file__).parents[1] / "tests/with_verl/rig"
ROWS, WIDTH = 64, 4096
REPEATS, STEP_REPEATS = 60, 24


def ratios(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Every side's median seconds and its ratio to the first, from interleaved repeats after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    rng = np.random.default_rng(0)
    for i in range(repeats + 1):
        # in any order: who comes after whom decides on what the allocator and the caches hold
        for name in rng.permutation(list(sides)):
            start = time.process_time()
            sides[name]()
            if i:
                seconds[name].append(time.process_time() - start)
    base = np.array(next(iter(seconds.values())))
    out = {}
    for name, each in seconds.items():
        values = np.array(each)
        picks = rng.integers(len(base), size=(2000, len(base)))
        spread = np.median(values[picks], axis=1) / np.median(base[picks], axis=1)
        interval = [round(float(x), 3) for x in np.quantile(spread, [0.025, 0.975])]
        ratio = round(float(np.median(values) / np.median(base)), 3)
        out[name] = {"median_ms": round(1000 * statistics.median(each), 2), "ratio": ratio, "interval": interval}
    return out


def calls() -> dict[str, Callable[[], None]]:
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import FSDPActorConfig, PolicyLossConfig

    from entrostat.engines.verl.config import EntrostatLossConfig
    from entrostat.engines.verl.loss import KEY, MicroBatch, With, policy_loss
    from entrostat.strategies import RolloutSummary
    from entrostat.strategies.check import CheckedBounds

    draw = torch.Generator().manual_seed(0)
    shape = (ROWS, WIDTH)
    old = -torch.rand(shape, generator=draw) * 3
    new = (old + torch.randn(shape, generator=draw) * 0.1).requires_grad_()
    entropy = torch.rand(shape, generator=draw) * 2
    lengths = torch.randint(WIDTH // 4, WIDTH + 1, (ROWS, 1), generator=draw)
    mask = torch.arange(WIDTH)[None] < lengths
    advantages = torch.randn(ROWS, 1, generator=draw) * mask
    tokens = {"dp_size": 1, "batch_num_tokens": int(mask.sum()), "global_batch_size": ROWS, "loss_scale_factor": None}

    def side(chosen: PolicyLossConfig, fn: Any, now: torch.Tensor | None) -> Callable[[], None]:
        known = {"strategy": "fsdp2", "rollout_n": 1, "ppo_micro_batch_size_per_gpu": 1, "global_batch_info": tokens}
        actor = FSDPActorConfig(policy_loss=chosen, **known)
        # a rank makes it once
        checked = CheckedBounds(chosen.make()) if isinstance(chosen, EntrostatLossConfig) else None

        def work() -> None:
            config: Any = actor
            if checked is not None:
                strategy = checked.strategy
                state = strategy.observe(strategy.init(), told)
                config = With(actor, **{KEY: MicroBatch(checked, state, entropy, now)})
            new.grad = None
            loss, _ = fn(old, new, advantages, mask, "token-mean", config, None)
            loss.backward()

        return work

    told = RolloutSummary(0.0, 1.0, excess_surprisal=0.6, entropy_error=0.01, active=1.0, updates=4)
    constant = {"strategy": "grpo"}
    return {
        "vanilla": side(PolicyLossConfig(), compute_policy_loss_vanilla, None),
        "constant bounds": side(EntrostatLossConfig(**constant), policy_loss, None),
        "constant bounds, with regions": side(EntrostatLossConfig(**constant), policy_loss, entropy),
        "thermostat, with regions": side(EntrostatLossConfig(strategy="thermostat"), policy_loss, entropy),
    }


def steps(tiny: bool) -> dict[str, Callable[[], None]]:
    sys.path.insert(0, str(RIG))
    from settings import ENVIRONMENT, ours

    os.environ.update(ENVIRONMENT | {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29555")
    import update_actor
    from tiny_model import build

    lab = Path(__file__).parents[1] / "src/entrostat/lab/models/countdown"
    model, shape = str(lab), update_actor.Shape(256, 20, 24, 21, mini=64, micro=32)
    if tiny:
        model, shape = build(tempfile.mkdtemp()), update_actor.Shape()
    vanilla, constant = {"overrides": [], "state": None}, {"overrides": ours("grpo"), "state": {}}
    known = {"vanilla": vanilla, "constant bounds": constant}
    return {name: update_actor.Case(case, model, shape).update for name, case in known.items()}


# glibc hands pages back to the system and faults them in again after each large tensor, where a process is as small as
# this one: what a fresh page costs is not what a loss costs, and in a training process, or on a GPU, they are kept
KEEP_PAGES = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**32)}

if __name__ == "__main__":
    if not KEEP_PAGES.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_PAGES)
    torch.set_num_threads(1)
    words = sys.argv[1:]
    step = words[:1] == ["step"]
    sides = steps(words[1:] == ["tiny"]) if step else calls()
    print(json.dumps(ratios(sides, STEP_REPEATS if step else REPEATS), indent=1))
