"""Is control worth having? Every method at its own best learning rate and setting, on the tasks with headroom.

    python bench/front.py DIR [--minutes M] [--render]

The protocol and its criteria stand in docs/bench.md. A run is one `entrostat train --engine fast`; its line is appended
to docs/results/front.jsonl as it ends, and a stopped set goes on where it was, also on another machine. Runs of the
choice are scored on validation problems and have seeds of their own (1000 up); compared runs have seeds 0 to 7.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

RESULT = Path(__file__).parent.parent / "docs" / "results" / "front.jsonl"
TEMPERATURES = ("1", "0.6", "0.4", "0.2", "0.1")
HORIZONS = (200, 500, 1000)
"""Rollouts after which a compared run is scored."""
CHOICE_HORIZON = 200
CHOICE_SEEDS = (1000, 1001)
SEEDS = range(8)
PROBLEMS, SAMPLES = 128, 256
RATES: Mapping[str, tuple[str, ...]] = {
    "chain": ("1e-4", "2e-4", "4e-4"),
    "times": ("2.5e-5", "5e-5", "1e-4"),
}
METHODS: Mapping[str, tuple[str, ...]] = {
    "grpo": ("grpo",),
    "clip-lower": ("clip-lower --low 0.05", "clip-lower --low 0.02"),
    "thermostat": ("thermostat --target 0.8x", "thermostat --target 0.4x"),
    "mai": ("mai --target 0.12", "mai --target 0.06"),
    "adapo": ("adapo --target 0.12", "adapo --target 0.06"),
    "stare": ("objective:stare --target 0.12", "objective:stare --target 0.12 --weight 1.5"),
    "repo-r": ("objective:repo --target 0.12", "objective:repo --target 0.06"),
    "entrocraft": (
        "objective:entrocraft --band-low linear:0.12:0.03 --band-high linear:0.2:0.06",
        "objective:entrocraft --band-low 0.05 --band-high 0.3",
    ),
    "w-reinforce": ("objective:w-reinforce --weight 0.1", "objective:w-reinforce --weight 0.5"),
}
"""Each method's settings, as words of the command line; a choice is made among them and the learning rates."""


class Job(NamedTuple):
    """One run."""

    task: str
    method: str
    setting: str
    rate: str
    seed: int
    chooses: bool
    """Whether it serves the choice of a setting, or the comparison."""

    @property
    def key(self) -> str:
        part = "choice" if self.chooses else "compared"
        return f"{part}/{self.task}/{self.method}/{self.setting}/{self.rate}/seed{self.seed}"

    @property
    def words(self) -> list[str]:
        """Of `entrostat train`."""
        if self.chooses:
            scored = ["--steps", str(CHOICE_HORIZON), "--eval-split", "validation", "--eval-samples", "32"]
        else:
            before_the_end = map(str, HORIZONS[:-1])
            scored = ["--steps", str(HORIZONS[-1]), "--eval-at", *before_the_end, "--eval-samples", str(SAMPLES)]
        fixed = ["--engine", "fast", "--prompts", "16", "--map-every", "0", "--threads", "1", "--save-every", "50"]
        run = ["--task", self.task, "--learning-rate", self.rate, "--seed", str(self.seed)]
        return [*fixed, *run, *scored, "--eval-problems", str(PROBLEMS), "--temperatures", *TEMPERATURES]


def done() -> dict[str, dict[str, Any]]:
    """Lines of the result by key."""
    lines = RESULT.read_text().splitlines() if RESULT.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def jobs(known: Mapping[str, Any]) -> Iterator[Job]:
    """All runs whose setting is known by now, those of the choice first."""
    for task, rates in RATES.items():
        for seed, method in itertools.product(CHOICE_SEEDS, METHODS):
            for setting, rate in itertools.product(METHODS[method], rates):
                yield Job(task, method, setting, rate, seed, chooses=True)
    for seed in SEEDS:
        for task, method in itertools.product(RATES, METHODS):
            chosen = choice(known, task, method)
            if chosen:
                yield Job(task, method, *chosen, seed, chooses=False)


def choice(known: Mapping[str, Any], task: str, method: str) -> tuple[str, str] | None:
    """(setting, learning rate) of the largest mean over seeds of mean@32 on validation problems; None as long as a run
    of the choice is missing."""
    scores = {}
    for setting, rate in itertools.product(METHODS[method], RATES[task]):
        keys = [Job(task, method, setting, rate, seed, chooses=True).key for seed in CHOICE_SEEDS]
        if any(key not in known for key in keys):
            return None
        scores[setting, rate] = statistics.fmean(known[key]["mean@32"] for key in keys)
    return max(scores, key=scores.__getitem__)


lock = threading.Lock()


def run(root: Path, job: Job) -> None:
    """Trains one run, or what is missing of it, and appends its line."""
    out = root / job.key.replace("/", "--").replace(" ", "-").replace(":", "-")
    command = ["--resume", str(out)] if out.exists() else ["--out", str(out), *job.words, *job.setting.split()]
    if not (out / "summary.json").exists():
        ended = subprocess.run([sys.executable, "-m", "entrostat", "train", *command], capture_output=True, text=True)
        if ended.returncode:
            print(f"{job.key}: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
            return
    command_line = " ".join(["entrostat train", *job.words, job.setting])
    record = {"key": job.key, "command": command_line, **measured(out, chooses=job.chooses)}
    with lock, RESULT.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(f"{job.key} {record.get('mean@32', '')}", file=sys.stderr, flush=True)


def measured(out: Path, *, chooses: bool) -> dict[str, Any]:
    """What of a run's folder goes into its line."""
    summary = json.loads((out / "summary.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    entropy = [None if line["entropy"] is None else round(line["entropy"], 4) for line in lines[::10]]
    record = {"seconds": summary["seconds"], "entropy": entropy}
    if chooses:
        # the lab loads torch, which the jobs' own processes do already
        from entrostat.lab.evaluate import at_best

        best = at_best(summary)
        return record | {"mean@32": best["mean@32"]["value"], "pass@32": best["pass@32"]["value"]}
    return record | {"scores": {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("scores-*.json"))}}


def work(root: Path, until: float) -> None:
    """Two runs at a time, until there is none or the time is over; no run begins after that."""
    while time.monotonic() < until:
        known = done()
        ready = [job for job in jobs(known) if job.key not in known]
        if not ready:
            return
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: time.monotonic() < until and run(root, job), ready))
        if {job.key for job in ready}.isdisjoint(done()):
            return  # nothing of it works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="folders of the runs")
    parser.add_argument("--minutes", type=float, default=720.0, help="begin no run after that")
    options = parser.parse_args()
    work(options.dir, time.monotonic() + 60 * options.minutes)


if __name__ == "__main__":
    main()
