"""Rollouts a second of the fast engine over those of TRL's, and the memory of a large rollout, on one thread.

    python bench/fast_engine.py [--repeats 10 --rollouts 11]        about four minutes on one free core

1. Peak memory of each engine's run of two rollouts of 256 prompts x 16 completions with 16 updates, each in a process
   of its own: the kernel's VmHWM.
2. Speed: `entrostat train grpo` on countdown by both engines, 16 prompts x 16 completions with 8 updates, without
   scores, maps or checkpoints on the way. A repeat is one run of each, from one seed, in one process, in an order drawn
   by lot. Seconds are those of timing.jsonl without each run's first rollout. The ratio of a repeat is that of its two
   sums; over repeats their mean with a 95% t interval, and the least and the largest.

The table goes to stdout, and below it everything as JSON. Aim: at least 3 times TRL's.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from entrostat.estimate import seed_interval
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import make_method
from entrostat.lab.train import new_run, train

ENGINES = ("trl", "fast")
SPEED: dict[str, Any] = {"prompts": 16, "samples": 16, "updates_per_rollout": 8}
LARGE: dict[str, Any] = {"prompts": 256, "samples": 16, "updates_per_rollout": 16, "steps": 2}
AIM = 3.0


def seconds(engine: Any, folder: Path, **options: Any) -> list[float]:
    """A run's seconds, rollout by rollout."""
    aside = {"eval_problems": 0, "map_every": 0, "save_every": 10**6, "threads": 1}
    train(new_run(TrainConfig(engine=engine, **aside, **options), make_method("grpo"), folder))
    return [json.loads(line)["seconds"] for line in (folder / "timing.jsonl").read_text().splitlines()]


def peak_mib(engine: str) -> int:
    """Of a process that makes the large run and nothing else."""
    done = subprocess.run([sys.executable, __file__, "peak", engine], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def show_peak(engine: str) -> None:
    """Makes the large run in this process and prints its peak.

    Not by ru_maxrss: Linux lets a process that subprocess has started begin with the peak of the one that started it.
    """
    with tempfile.TemporaryDirectory() as folder:
        seconds(engine, Path(folder) / "run", **LARGE)
    lines = Path("/proc/self/status").read_text().splitlines()
    print(round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024))


def in_turn(repeats: int, rollouts: int) -> dict[str, list[list[float]]]:
    """Of each engine and repeat the seconds of all rollouts but the first."""
    found: dict[str, list[list[float]]] = {engine: [] for engine in ENGINES}
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as root:
        for seed in range(repeats):
            for engine in order.sample(ENGINES, 2):
                took = seconds(engine, Path(root) / f"{engine}-{seed}", seed=seed, steps=rollouts, **SPEED)
                found[engine].append(took[1:])
    return found


def compared(found: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Rollouts a second of each engine, and the fast one's over TRL's."""
    sums = {engine: np.array(runs).sum(axis=1) for engine, runs in found.items()}
    ratios = sums["trl"] / sums["fast"]
    each = seed_interval(ratios)
    rates = {engine: round(np.array(runs).size / float(np.sum(runs)), 3) for engine, runs in found.items()}
    return {
        "repeats": len(ratios),
        "rollouts": len(found["fast"][0]),
        "rollouts_per_second": rates,
        "ratio": round(each.value, 4),
        "ratio_95": [round(each.low, 4), round(each.high, 4)],
        "ratios": [round(float(ratio), 4) for ratio in ratios],
        "aim": AIM,
    }


def main() -> None:
    if sys.argv[1:2] == ["peak"]:
        return show_peak(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"repeats": 10, "rollouts": 11}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    peaks = {engine: peak_mib(engine) for engine in ENGINES}
    found = compared(in_turn(options.repeats, options.rollouts)) | {"peak_mib": peaks}
    print(
        "| engine | rollouts/s | ratio to TRL's, 95% | least to largest | peak MiB at 4,096 responses |\n"
        + "|---" * 5
        + "|"
    )
    low, high = found["ratio_95"]
    cells = {
        "trl": ["1", ""],
        "fast": [
            f"{found['ratio']:.2f} [{low:.2f}, {high:.2f}]",
            f"{min(found['ratios']):.2f} to {max(found['ratios']):.2f}",
        ],
    }
    for engine, middle in cells.items():
        row = [f"`{engine}`", f"{found['rollouts_per_second'][engine]:.2f}", *middle, f"{peaks[engine]:,}"]
        print("| " + " | ".join(row) + " |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
