"""Is control worth having? Every method at its own best learning rate and setting, on the tasks with headroom.

    python bench/front.py DIR [--minutes M]   trains what docs/results/front.jsonl has no line for
    python bench/front_page.py                the tables of docs/bench.md, from that file

The protocol and its criteria stand in docs/bench.md. A run is one `entrostat train --engine fast`; its line is appended
as it ends. Runs of the choice are scored on validation problems and have seeds of their own (1000 up); compared runs
have seeds 0 to 7.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training_runs import Lines, train_all

RESULT = Path(__file__).parent.parent / "docs" / "results" / "front.jsonl"
TEMPERATURES = ("1", "0.6", "0.2")
HORIZONS = (200, 500, 1000)
"""Rollouts after which a compared run is scored."""
CHOICE_HORIZON = 500
CHOICE_SEEDS = (1000, 1001)
SEEDS = range(8)
PROBLEMS, SAMPLES, BASE_SAMPLES = 128, 256, 1024
RATES: Mapping[str, tuple[str, ...]] = {
    "chain": ("1e-4", "2e-4"),
    "times": ("5e-5", "1e-4"),
}
"""Learning rates to choose from. At twice the larger one policies are destroyed (dev/LOG.md)."""
METHODS: Mapping[str, tuple[str, ...]] = {
    "grpo": ("grpo",),
    "clip-lower": ("clip-lower --low 0.05", "clip-lower --low 0.02"),
    "thermostat": ("thermostat --target 0.4x --low 0.2 --high 0.2", "thermostat --target 0.4x --low 0.05 --high inf"),
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

    part: str
    """base (scores of the base model), choice (of a setting and a learning rate) or compared."""
    task: str
    method: str
    setting: str
    """Its words of the command line."""
    rate: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.part}/{self.task}/{self.method}/{self.setting}/{self.rate}/seed{self.seed}"

    @property
    def words(self) -> list[str]:
        """Of `entrostat train`."""
        fixed = ["--engine", "fast", "--prompts", "16", "--map-every", "0", "--threads", "1", "--save-every", "50"]
        run = ["--task", self.task, "--learning-rate", self.rate, "--seed", str(self.seed)]
        return [*fixed, *run, *self._scored, "--eval-problems", str(PROBLEMS), *self.setting.split()]

    @property
    def _scored(self) -> list[str]:
        match self.part:
            case "base":
                # the scores before the first of these rollouts are the ones that count
                return ["--steps", "1", "--eval-samples", str(BASE_SAMPLES)]
            case "choice":
                split = ["--eval-split", "validation", "--eval-samples", "32"]
                return ["--steps", str(CHOICE_HORIZON), *split, "--temperatures", *TEMPERATURES]
            case _:
                before_the_end = map(str, HORIZONS[:-1])
                scored = ["--eval-at", *before_the_end, "--eval-samples", str(SAMPLES)]
                return ["--steps", str(HORIZONS[-1]), *scored, "--temperatures", *TEMPERATURES]


def jobs(known: Lines) -> Iterator[Job]:
    """All runs whose setting is known by now. Task by task: the base model, the choice, then seed by seed."""
    for task, rates in RATES.items():
        yield Job("base", task, "grpo", "grpo", rates[0], seed=0)
        for seed, method in itertools.product(CHOICE_SEEDS, METHODS):
            for setting, rate in itertools.product(METHODS[method], rates):
                yield Job("choice", task, method, setting, rate, seed)
        chosen = {method: choice(known, task, method) for method in METHODS}
        for seed in SEEDS:
            for method, best in chosen.items():
                if best:
                    yield Job("compared", task, method, *best, seed)


def choice(known: Lines, task: str, method: str) -> tuple[str, str] | None:
    """(setting, learning rate) of the largest mean over seeds of mean@32 on validation problems; None as long as a run
    of the choice is missing."""
    scores = {}
    for setting, rate in itertools.product(METHODS[method], RATES[task]):
        keys = [Job("choice", task, method, setting, rate, seed).key for seed in CHOICE_SEEDS]
        if any(key not in known for key in keys):
            return None
        scores[setting, rate] = statistics.fmean(known[key]["mean@32"] for key in keys)
    return max(scores, key=scores.__getitem__)


def measured(out: Path, job: Job) -> dict[str, Any]:
    """What of a run's folder goes into its line."""
    if job.part == "base":
        start = json.loads((out / "scores-start.json").read_text())
        return {"correct": start["correct"], "samples": start["samples"]}
    summary = json.loads((out / "summary.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    record: dict[str, Any] = {"seconds": summary["seconds"]}
    tens = [lines[start : start + 10] for start in range(0, len(lines), 10)]
    for column in ("entropy", "reward"):
        record[column] = [_mean(line[column] for line in ten) for ten in tens]
    if job.part == "choice":
        # the lab loads torch, which the jobs' own processes do already
        from entrostat.lab.evaluate import at_best

        best = at_best(summary)
        return record | {"mean@32": best["mean@32"]["value"], "pass@32": best["pass@32"]["value"]}
    names = {"0": "start", **{str(rollouts): str(rollouts) for rollouts in HORIZONS[:-1]}, str(HORIZONS[-1]): "end"}
    record["scores"] = {at: _scores(out / f"scores-{name}.json") for at, name in names.items()}
    return record


def _scores(file: Path) -> dict[str, Any]:
    """Of one model: the temperature that validation problems chose, and at each one what it solved."""
    record = json.loads(file.read_text())
    by_temperature = {}
    for temperature, scores in record["by_temperature"].items():
        by_temperature[temperature] = {"entropy": round(scores["entropy"], 4), "correct": scores["correct"]}
    return {"best": f"{record['best_temperature']:g}", "by_temperature": by_temperature}


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 4) if known else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="folders of the runs")
    parser.add_argument("--minutes", type=float, default=720.0, help="begin no run after that")
    options = parser.parse_args()
    train_all(options.dir, RESULT, jobs, measured, until=time.monotonic() + 60 * options.minutes)


if __name__ == "__main__":
    main()
