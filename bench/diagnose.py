"""`entrostat diagnose` on made-up dumps: seconds and peak resident memory at 10 million tokens; a page's first paint.

    python bench/diagnose.py                    about two minutes; 230 MB in a temporary folder
    python bench/diagnose.py 100000000          ten times that
    python bench/diagnose.py page               a page of 200 responses of 2,000 tokens; needs chromium and chromedriver

Limits: 60 s and 1 GiB at 10 million tokens on two cores, ten times the time and the same memory at 100 million; the
page under 15 MB and its first contentful paint under 2 s. Each measurement is a process of its own, from its start to
its end; peak memory is the kernel's VmHWM of that process. The dump is made by a seeded generator, one file a rollout
of 256 completions of 1,000 tokens (2,000 for the page), 16 a prompt, with every column that the TRL engine writes.
"""

import contextlib
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from entrostat import dump

TOKENS, PER_FILE, GROUP, REPEATS = 10_000_000, 256, 16, 3
VOCABULARY = 150_000


def rollout(step: int, length: int, completions: int = PER_FILE) -> dict[str, Any]:
    """Columns of one rollout, seeded by its step."""
    rng = np.random.default_rng(step)
    shape = (completions, length)
    entropy = rng.gamma(0.5, 0.8, shape).astype(np.float32)
    logprobs = -entropy * rng.exponential(1, shape).astype(np.float32)
    advantages = rng.choice([-1.0, 1.0], completions).astype(np.float32)[:, None]
    logratio = 0.1 * rng.normal(size=shape).astype(np.float32)
    low, high = np.expm1(logratio) < -0.2, np.expm1(logratio) > 0.2
    ids = (VOCABULARY * rng.random(shape) ** 4).astype(np.int64)
    p2 = np.exp(-1.2 * entropy)
    return {
        "step": step,
        "group": np.arange(completions) // GROUP,
        "update": np.arange(completions) % 8,
        "reward": (advantages[:, 0] > 0).astype(np.float32),
        "prompt": [f"What is {step} times {i // GROUP}?" for i in range(completions)],
        "tokens": ids,
        "text": [[f" t{i}" for i in row] for row in ids.tolist()],
        "advantages": advantages,
        "logprobs": logprobs,
        "old_logprobs": logprobs - logratio,
        "entropy": entropy,
        "sum_p2": p2,
        "sum_p2_logp": p2 * np.log(p2),
        "old_entropy": entropy,
        "low": np.float32(0.2),
        "high": np.float32(0.2),
        "clipped": (high & (advantages > 0)).astype(np.int8) - (low & (advantages < 0)).astype(np.int8),
    }


def make(folder: Path, tokens: int, length: int = 1000) -> None:
    for step in range(-(-tokens // (PER_FILE * length))):
        dump.write(folder / dump.file_name(step), **rollout(step, length))


def measured(*arguments: str) -> dict[str, float]:
    """Wall-clock and processor seconds of `entrostat diagnose` with these arguments, and its peak memory in MiB."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "child", *arguments], stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 1), **json.loads(done.stdout.splitlines()[-1])}


def child(arguments: list[str]) -> None:
    """The command in this process, its answer thrown away, then what it took."""
    from entrostat.cli import main as command

    with contextlib.redirect_stdout(io.StringIO()):
        if command(["diagnose", *arguments, "--json"]):
            raise SystemExit("entrostat diagnose failed")
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    print(json.dumps({"cpu": round(time.process_time(), 1), "mib": round(peak / 1024)}))


def speed(tokens: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), tokens)
        runs = [measured(folder) for _ in range(REPEATS)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {"tokens": tokens, **medians, "all_seconds": [run["seconds"] for run in runs]}


def loads(page: Path) -> list[dict[str, int]]:
    """Milliseconds of REPEATS loads in headless Chromium, after one that does not count.

    paint: the first contentful paint; ready: until the page's script has run.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    paint = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)[0]"
    ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    found = []
    try:
        for _ in range(REPEATS + 1):
            driver.get(page.as_uri())
            while None in (took := driver.execute_script(f"return [{paint}, {ready} || null]")):
                time.sleep(0.05)
            found.append({"paint": round(took[0]), "ready": round(took[1])})
    finally:
        driver.quit()
    return found[1:]


def viewer() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), PER_FILE * 2000, 2000)
        page = Path(folder) / "page.html"
        made = measured(folder, "--html", str(page))
        found = loads(page)
        size = page.stat().st_size
    medians = {f"{name}_ms": statistics.median(load[name] for load in found) for name in found[0]}
    return {"page_mb": round(size / 1e6, 1), **medians, "loads": found, "made": made}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["child"]:
        return child(arguments[1:])
    found = viewer() if arguments == ["page"] else speed(int(arguments[0]) if arguments else TOKENS)
    print(json.dumps(found | {"cores": os.cpu_count(), "python": platform.python_version()}))


if __name__ == "__main__":
    main(sys.argv[1:])
