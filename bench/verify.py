"""math-verify on 10,000 GSM8K-style answers: two worker processes over one, and one over math-verify alone.

    python bench/verify.py [--answers N] [--repeats R]

Prints medians of ratios over repeats in which all run one after another, so that a busy machine slows all: the pool of
two processes over one (`speedup`, aim: at least 1.8), and the processor time of the pool's one worker over that of a
plain loop of math-verify's parse and verify (`overhead`, aim: at most 1.2). `bound` is what two processes with a plain
loop each, and nobody to feed them, get over one: no pool can do better. Workers are started before the clock is.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import time
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from entrostat.verify import VerifierPool

Pairs = list[tuple[str, str]]


def made_up(n: int, seed: int) -> Pairs:
    """Answers of one to six digits and completions, half of them right."""
    rng = random.Random(seed)
    answers = [rng.randrange(10 ** rng.randint(1, 6)) for _ in range(n)]
    given = [answer + rng.randrange(2) for answer in answers]
    text = "She sells {0} in April and as many in May, so the total is \\boxed{{{0}}}."
    return [(str(answer), text.format(number)) for answer, number in zip(answers, given, strict=True)]


def plain(pairs: Pairs) -> float:
    """Processor seconds of math-verify called as its users call it."""
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    begin = time.process_time()
    for answer, completion in pairs:
        verify(parse(f"\\boxed{{{answer}}}", config), parse(completion, config))  # pyright: ignore[reportArgumentType]
    return time.process_time() - begin


def clock(bare: Any, parts: list[Pairs]) -> float:
    """Seconds of plain loops, one a part, in processes of their own."""
    begin = time.perf_counter()
    bare.map(plain, parts, chunksize=1)
    return time.perf_counter() - begin


def timed(pool: VerifierPool, pairs: Pairs) -> tuple[float, float]:
    """Seconds on the clock, and processor seconds of the workers and of this process."""
    before, begin = _used(pool), time.perf_counter()
    verdicts = pool.score(pairs)
    seconds = time.perf_counter() - begin
    assert all(verdict.score is not None for verdict in verdicts)
    return seconds, _used(pool) - before


def _used(pool: VerifierPool) -> float:
    ticks = 0
    for worker in pool._workers:
        with open(f"/proc/{worker.process.pid}/stat") as file:
            ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"speedup": [], "bound": [], "overhead": []}
    with (
        VerifierPool("math", processes=1) as one,
        VerifierPool("math", processes=2) as two,
        multiprocessing.get_context("spawn").Pool(2) as bare,
    ):
        clock(bare, [made_up(100, seed=-1)] * 4)
        for pool in (one, two):
            pool.score(made_up(100, seed=-1))
        plain(made_up(100, seed=-1))
        for repeat in range(options.repeats):
            # answers of its own, since math-verify keeps what it has parsed
            pairs = made_up(options.answers, seed=repeat)
            alone, used = timed(one, pairs)
            both, _ = timed(two, pairs)
            found["speedup"].append(alone / both)
            found["overhead"].append(used / plain(pairs))
            half = options.answers // 2
            fresh, other = made_up(options.answers, seed=-2 - repeat), made_up(options.answers, seed=-1002 - repeat)
            found["bound"].append(clock(bare, [fresh]) / clock(bare, [other[:half], other[half:]]))
    result: dict[str, Any] = {name: round(statistics.median(ratios), 3) for name, ratios in found.items()}
    print(json.dumps({"answers": options.answers, "repeats": options.repeats, "cores": os.cpu_count(), **result}))


if __name__ == "__main__":
    main()
