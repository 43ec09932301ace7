"""The runs that claims stand on: each is one command of `entrostat train` or `entrostat effect`, made once, whatever
claims ask for it.

    DIR/runs/NAME/    a run's folder, until its record is written
    DIR/runs.jsonl    a record a run, keyed by the command: all that a judge reads

A set that was stopped goes on where it was: recorded runs are not trained again, begun ones are resumed.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

import entrostat
from entrostat.lab.config import DATASET, TrainConfig
from entrostat.lab.effect import Measured, Measurement
from entrostat.lab.evaluate import at_best
from entrostat.lab.methods import Method, as_arguments
from entrostat.lab.paired import Row
from entrostat.lab.run import Run
from entrostat.lab.side_by_side import train_all
from entrostat.lab.train import new_run
from entrostat.lab.watch import Watcher
from entrostat.registry import flags
from entrostat.reproduce.effects import EffectJob
from entrostat.reproduce.tokens import of_dumps

DIGITS = 5
SCORED_BY = (
    *(
        "versions",
        "engine",
        "task",
        "model",
        "dataset",
        *DATASET,
        "temperature",
        "threads",
        "prompts",
        "samples",
    ),
    *(
        "updates_per_rollout",
        "micro_batches",
        "eval_problems",
        "eval_samples",
        "eval_split",
    ),
)
"""What the scores of a run's base model depend on, of its config.json: model, problems, sampler, batches."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run: a method under a configuration, its seed included."""

    method: Method
    config: TrainConfig

    @property
    def command(self) -> str:
        """The command that makes the same run."""
        return " ".join(
            ["entrostat", "train", *flags(self.config), *as_arguments(self.method)]
        )

    @property
    def rollouts(self) -> int:
        return self.config.steps

    @property
    def folder(self) -> str:
        """A name for its folder."""
        digest = hashlib.sha256(self.command.encode()).hexdigest()[:12]
        return f"{as_arguments(self.method)[0].replace(':', '-')}-seed{self.config.seed}-{digest}"


AnyJob = Job | EffectJob


class Records:
    """What is known of runs, in a folder."""

    def __init__(self, path: Path):
        self.path, self.file = path, path / "runs.jsonl"
        lines = (
            self.file.read_text(encoding="utf-8").splitlines()
            if self.file.is_file()
            else []
        )
        self._found: dict[str, dict[str, Any]] = {}
        for at, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self._found[record["command"]] = record
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.file}, line {at}, is no record of a run ({error}): take the line out"
                ) from None

    def __contains__(self, job: object) -> bool:
        return isinstance(job, Job | EffectJob) and job.command in self._found

    def __getitem__(self, job: AnyJob) -> dict[str, Any]:
        return self._found[job.command]

    def have(self, jobs: Iterable[AnyJob]) -> bool:
        """Whether all of them are recorded."""
        return all(job in self for job in jobs)

    def train(self, jobs: Sequence[AnyJob], watch: Callable[[AnyJob], Watcher]) -> bool:
        """Makes and records those that are missing; False where Ctrl-C stopped it at a point to go on from."""
        missing = [job for job in jobs if job not in self]
        for job in missing:
            if isinstance(job, EffectJob):
                self._measure(job, watch(job))
        return self._train([job for job in missing if isinstance(job, Job)], watch)

    def _measure(self, job: EffectJob, watcher: Watcher) -> None:
        """All seeds of one measurement, a process a core."""
        folder = self.path / "runs" / job.folder
        held = Measurement(folder, job.point, job.methods)
        start, counted = time.perf_counter(), 0

        def note(measured: Measured) -> None:
            nonlocal counted
            while counted < measured.rollouts:
                counted += 1
                watcher.line({})

        held.run(first_seed=job.first_seed, rollouts=job.rollouts, note=note)
        # of this call alone: a measurement that was stopped and goes on says less than it took
        seconds = round((time.perf_counter() - start) * (os.cpu_count() or 1), 1)
        versions = {"torch": torch.__version__}
        known = {
            "entrostat": entrostat.__version__,
            "versions": versions,
            "engine": "fast",
            "seconds": seconds,
        }
        self._write(job, {**known, "rows": [_short(row) for row in held.rows]})

    def _train(self, jobs: Sequence[Job], watch: Callable[[AnyJob], Watcher]) -> bool:
        known = self._start_scores()
        missing = {
            job.command: (job, self._run(job, known)) for job in jobs if job not in self
        }.values()
        begun = [(job, run) for job, run in missing if run.summary is None]
        done = not begun or train_all(
            [run for _, run in begun], [watch(job) for job, _ in begun]
        )
        for job, run in missing:
            if run.summary is not None:
                self._add(job, run)
        return done

    def _run(self, job: Job, known: dict[str, dict[str, Any]]) -> Run:
        path = self.path / "runs" / job.folder
        if (path / "config.json").is_file():
            return Run.open(path)
        run = new_run(job.config, job.method, path, job.command)
        if (scores := known.get(_scored_by(run))) is not None:
            run.write_scores("start", scores)
        return run

    def _start_scores(self) -> dict[str, dict[str, Any]]:
        """Scores of base models, by what they depend on: one sampling serves all runs that start alike."""
        runs = [
            Run.open(file.parent) for file in (self.path / "runs").glob("*/config.json")
        ]
        return {
            _scored_by(run): scores
            for run in runs
            if (scores := run.read_scores("start")) is not None
        }

    def _add(self, job: Job, run: Run) -> None:
        self._write(job, measured(run))
        shutil.rmtree(
            run.trainer_folder, ignore_errors=True
        )  # only a run that goes on needs it

    def _write(self, job: AnyJob, found: dict[str, Any]) -> None:
        record = {"command": job.command, **found}
        self.path.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._found[job.command] = record


def _short(row: Row) -> dict[str, Any]:
    """A row for the record: eight digits are far more than its noise."""
    branches = [[float(f"{value:.8g}") for value in branch] for branch in row.branches]
    return {**row._asdict(), "before": float(f"{row.before:.8g}"), "branches": branches}


def _scored_by(run: Run) -> str:
    config = run.config
    return json.dumps([config.get(name) for name in SCORED_BY])


def measured(run: Run) -> dict[str, Any]:
    """The record of a run that has ended: versions, seconds, columns by rollout, right samples by problem."""
    lines = [
        json.loads(line)
        for line in (run.path / "metrics.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    summary = run.summary
    assert summary is not None
    record: dict[str, Any] = {
        "entrostat": run.config["entrostat"],
        "versions": run.config["versions"],
        "engine": run.config.get("engine", "trl"),
        "seconds": summary["seconds"],
    }
    for name in ("entropy", "reward", "clip_low", "clip_high"):
        record[name] = [_rounded(line.get(name)) for line in lines]
    record["predicted"] = [_rounded(_predicted(line)) for line in lines]
    record["regions"] = {
        name: _rounded(_mean(lines, f"{name}/change_kept"))
        for name in ("E1", "E2", "E3", "E4")
    }
    record["scores"] = {}
    for path in sorted(run.path.glob("scores-*.json")):
        scores = json.loads(path.read_text(encoding="utf-8"))
        best = at_best(scores)
        kept = {
            "entropy": _rounded(scores["entropy"]),
            "samples": best["samples"],
            "correct": best["correct"],
        }
        if best is not scores:
            kept["temperature"] = scores["best_temperature"]
        record["scores"][path.stem.removeprefix("scores-")] = kept
    if (run.path / "dump").is_dir():
        record["tokens"] = of_dumps(run.path / "dump")
    return record


def _predicted(line: dict[str, Any]) -> float | None:
    """First-order entropy change of the tokens that kept their gradient, nats per unit step and trained token."""
    found = [value for key, value in line.items() if key.endswith("/change_kept")]
    return sum(found) if found else None


def _mean(lines: list[dict[str, Any]], key: str) -> float | None:
    found = [line[key] for line in lines if line.get(key) is not None]
    return sum(found) / len(found) if found else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
