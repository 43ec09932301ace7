"""How well is entropy held where samples are old? One resumable command, about 40 minutes of two cores.

    python bench/stale.py DIR       trains what docs/results/stale.jsonl has no line for
    python bench/stale.py --render  the table of docs/results/stale.md, from that file

Runs of 100 rollouts of 16 prompts x 16 samples on countdown, by the fast engine, whose policy is some rollouts ahead
of the one that samples: by one number, or by all numbers up to one, mixed. A run's error is the mean of
|H / target - 1| from rollout 30 on, H being the present policy's entropy on 128 held-out prompts, every fifth rollout.

Criteria, fixed before the runs: at an age of 4 the thermostat's error is at most 1.5 times that with fresh samples, on
both references; at 8 its error is at most 2.5 times that: it does not swing.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from entrostat.estimate import seed_interval
from training_runs import Lines, read, train_all

RESULT = Path(__file__).parent.parent / "docs" / "results" / "stale.jsonl"
REFERENCES = {"constant 0.35": "0.35", "fall 0.43 to 0.12": "linear:0.43:0.12"}
AGES = ("0", "1", "2", "4", "8", "0 to 4", "0 to 8")
METHODS = {"thermostat": ("thermostat", "--hold", "both"), "mai": ("mai",)}
OF_MAI = ("0", "4", "8")
"""The ages of the runs beside it."""
SEEDS = {"thermostat": range(2, 5), "mai": range(2)}
"""Seeds 0 and 1 of the thermostat showed what its filter lacked (dev/LOG.md): others are the test of the mended one."""
LATE = 30


class Job(NamedTuple):
    """One run."""

    method: str
    reference: str
    ages: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.method}/{self.reference}/{self.ages}/seed{self.seed}"

    @property
    def words(self) -> list[str]:
        """Of `entrostat train`."""
        sizes = ["--prompts", "16", "--samples", "16", "--steps", "100", "--map-every", "0"]
        probes = ["--probe-every", "5", "--eval-problems", "2", "--eval-samples", "1"]
        oldest = self.ages.split()[-1]
        stale = [] if oldest == "0" else ["--staleness", oldest]
        if "to" in self.ages:
            stale.append("--staleness-mixed")
        method = [*METHODS[self.method], "--target", REFERENCES[self.reference]]
        return ["--engine", "fast", *sizes, *probes, *stale, "--seed", str(self.seed), *method]


def jobs(_: Lines) -> Iterator[Job]:
    for seed in SEEDS["thermostat"]:
        # what the criteria ask for comes first
        for ages in sorted(AGES, key=lambda ages: ages not in ("0", "4", "8")):
            for reference in REFERENCES:
                yield Job("thermostat", reference, ages, seed)
    for seed in SEEDS["mai"]:
        for ages in OF_MAI:
            for reference in REFERENCES:
                yield Job("mai", reference, ages, seed)


def measured(out: Path, _: Job) -> dict[str, Any]:
    """What of a run's folder goes into its line."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    probed = [line for line in lines if "held_out_entropy" in line]
    record: dict[str, Any] = {
        "held_out": [round(line["held_out_entropy"], 4) for line in probed],
        "target": [round(line["target"], 4) for line in probed],
        "at": [line["step"] for line in probed],
    }
    for column in ("clip_low", "clip_high", "logratio_rms", "reward"):
        record[column] = round(float(np.mean([line[column] for line in lines[LATE:]])), 5)
    return record


def error(line: Mapping[str, Any]) -> float:
    late = np.array(line["at"]) >= LATE
    return float(np.abs(np.array(line["held_out"]) / np.array(line["target"]) - 1)[late].mean())


def render(known: Lines) -> str:
    """A row per method, reference and ages."""
    text = "# Entropy held by old samples\n\n    python bench/stale.py DIR\n    python bench/stale.py --render\n\n"
    text += "Setting and criteria: the head of bench/stale.py. Intervals: 95%, Student's t over seeds.\n\n"
    text += "| | target | age in rollouts | error | over fresh | tokens clipped | rms ln r |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for method in METHODS:
        for reference in REFERENCES:
            fresh: float | None = None
            for ages in AGES:
                keys = [Job(method, reference, ages, seed).key for seed in SEEDS[method]]
                found = [known[key] for key in keys if key in known]
                if len(found) < 2:
                    continue
                interval = seed_interval([error(line) for line in found], limits=(0, float("inf")))
                fresh = fresh or interval.value
                clipped = np.mean([line["clip_low"] + line["clip_high"] for line in found])
                rms = np.mean([line["logratio_rms"] for line in found])
                score = f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
                ratio = f"{interval.value / fresh:.2f}"
                cells = [method, reference, ages, score, ratio, f"{clipped:.3f}", f"{rms:.2f}"]
                text += "| " + " | ".join(cells) + " |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, nargs="?", help="folders of the runs")
    parser.add_argument("--render", action="store_true", help="the table alone")
    options = parser.parse_args()
    if options.dir:
        train_all(options.dir, RESULT, jobs, measured)
    elif not options.render:
        sys.exit("give the folder of the runs, or --render")
    RESULT.with_suffix(".md").write_text(render(read(RESULT)))


if __name__ == "__main__":
    main()
