"""How large a dump is, and what it costs to write and to read: a made-up run, the same every time.

    python bench/dump.py FOLDER [--millions 10] [--keep]

Writes 4 rollouts a million tokens to FOLDER (removed afterwards, unless --keep): completions of 400 tokens, ids by
Zipf's law among 150,000 with a text each, log-probabilities and entropies that do not repeat, bounds .2/.28, every
column filled but prompt. Then reads them all, checked, and flattens every number (`per_token`), in a process of its
own. Prints one JSON object: MB a million tokens, seconds, peak resident MiB of a reader and of one that reads nothing.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from entrostat import dump

ROWS, TOKENS = 625, 400
"""Of a rollout: 250,000 tokens."""


def rollout(step: int) -> dict[str, Any]:
    """Columns of one rollout."""
    rng = np.random.default_rng(step)
    shape = (ROWS, TOKENS)
    entropy = rng.gamma(0.3, 1.0, shape).astype(np.float32)
    logprobs = -rng.gamma(0.3, 1.0, shape).astype(np.float32)
    advantages = rng.normal(size=ROWS).astype(np.float32)
    ratio = rng.normal(scale=0.05, size=shape).astype(np.float32)
    return {
        "step": step,
        "group": np.arange(ROWS) // 5,
        "update": np.arange(ROWS) // 80,
        "reward": rng.integers(0, 2, ROWS).astype(np.float32),
        "tokens": rng.zipf(1.3, shape).clip(max=149_999),
        "advantages": advantages,
        "logprobs": logprobs,
        "old_logprobs": logprobs - ratio,
        "entropy": entropy,
        "old_entropy": entropy + rng.normal(scale=0.01, size=shape).astype(np.float32),
        "sum_p2": np.exp(-entropy),
        "sum_p2_logp": -entropy * np.exp(-entropy),
        "low": 0.2,
        "high": 0.28,
        "clipped": ((ratio > 0.25) & (advantages[:, None] > 0)).astype(np.int8),
        "decode": lambda ids: f" word{ids[0]}",
    }


def write(folder: Path, rollouts: int) -> dict[str, float]:
    """Seconds of `dump.write` alone, and the size."""
    seconds = 0.0
    for step in range(rollouts):
        columns = rollout(step)
        begin = time.perf_counter()
        dump.write(folder / dump.file_name(step), **columns)
        seconds += time.perf_counter() - begin
    millions = rollouts * ROWS * TOKENS / 1e6
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"MB_per_million": size / 1e6 / millions, "write_seconds_per_million": seconds / millions}


def read(folder: Path) -> dict[str, float]:
    """Seconds and peak memory of this process; a folder that is not there is not read."""
    begin, tokens, total = time.perf_counter(), 0, 0.0
    for batch in dump.read(folder) if folder.exists() else ():
        flat = dump.per_token(batch)
        tokens += len(flat["tokens"])
        total += float(flat["entropy"].sum())
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tokens": tokens, "read_seconds": seconds, "reader_peak_MiB": peak}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--millions", type=int, default=10)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--read", action="store_true", help="read what is there, and stop")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.folder)))
        return
    options.folder.mkdir(parents=True)
    found = write(options.folder, options.millions * 4)
    again = [sys.executable, __file__, "--read"]
    found |= json.loads(subprocess.check_output([*again, str(options.folder)]))
    idle = json.loads(subprocess.check_output([*again, str(options.folder / "none")]))
    found["idle_peak_MiB"] = idle["reader_peak_MiB"]
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    if not options.keep:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
