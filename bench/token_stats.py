"""token_stats on 4,096 tokens of a 151,936-token vocabulary in bf16, against the plain float32 way to log p and H.

    python bench/token_stats.py           about two minutes, 9 GB of memory
    python bench/token_stats.py 512       fewer tokens

Limits: `time_ratio` at most 1, `peak_over_logits` at most 1.3. Times are wall-clock on torch's default threads; the two
ways take turns in one process, after one turn each that does not count, and the ratio is that of the medians of 5. Peak
memory is the growth of the resident set of a process of its own, the logits included, over what it held after imports
and a call on a small input. The plain way gives log p and H alone, token_stats the two further sums as well.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from entrostat import TokenStats, token_stats

TOKENS, VOCABULARY, REPEATS = 4096, 151_936, 5


def plain(logits: Tensor, ids: Tensor) -> TokenStats:
    """log_softmax, gather and entropy, in float32."""
    with torch.no_grad():
        logps = logits.float().log_softmax(-1)
        return TokenStats(logps.gather(-1, ids[..., None]).squeeze(-1), -(logps.exp() * logps).sum(-1))


WAYS = {"token_stats": token_stats, "plain": plain}


def inputs(tokens: int, vocabulary: int = VOCABULARY) -> tuple[Tensor, Tensor]:
    """Logits with standard deviation 3, drawn in place: no larger copy of them ever exists."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.empty(8, tokens // 8, vocabulary, dtype=torch.bfloat16).normal_(0, 3, generator=generator)
    return logits, torch.randint(vocabulary, logits.shape[:2], generator=generator)


def measure_time(tokens: int) -> dict[str, list[float]]:
    logits, ids = inputs(tokens)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(REPEATS + 1):
        for name, way in WAYS.items():
            start = time.perf_counter()
            way(logits, ids)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_memory(name: str, tokens: int) -> float:
    """Peak of the resident set over its start, in multiples of the logits' own bytes."""
    WAYS[name](*inputs(16, 1000))
    before = resident("VmRSS")
    logits, ids = inputs(tokens)
    WAYS[name](logits, ids)
    return (resident("VmHWM") - before) / logits.nbytes


def resident(field: str) -> int:
    """Bytes, from the kernel. VmHWM is this process's own peak; getrusage's would count the parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def own_process(*arguments: str):
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def report(tokens: int) -> dict[str, object]:
    seconds = own_process(str(tokens), "time")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "tokens": tokens,
        "vocabulary": VOCABULARY,
        "logits_dtype": "bfloat16",
        "time_ratio": round(medians["token_stats"] / medians["plain"], 3),
        "seconds": {name: [round(x, 3) for x in values] for name, values in seconds.items()},
        "peak_over_logits": {name: round(own_process(str(tokens), name), 3) for name in WAYS},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main(arguments: list[str]) -> None:
    tokens = int(arguments[0]) if arguments else TOKENS
    match arguments[1:]:
        case []:
            print(json.dumps(report(tokens)))
        case ["time"]:
            print(json.dumps(measure_time(tokens)))
        case [name]:
            print(json.dumps(measure_memory(name, tokens)))


if __name__ == "__main__":
    main(sys.argv[1:])
