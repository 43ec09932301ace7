"""The runs that claims stand on, each made once, whatever claims ask for it.

Each is one command of `entrostat train` or `entrostat effect`.

    DIR/runs/NAME/    a run's folder, until its record is written
    DIR/runs.jsonl    one record per run, keyed by the command: all that a judge reads

A set that was stopped goes on where it was: recorded runs are not trained again, begun
ones are resumed.
"""

import dataclasses
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
from entrostat.lab.effect import Measured
from entrostat.lab.evaluate import at_best
from entrostat.lab.measurement import Measurement
from entrostat.lab.methods import Method, as_arguments
from entrostat.lab.paired import PairedRollout
from entrostat.lab.run import Run
from entrostat.lab.side_by_side import train_all
from entrostat.lab.train import new_run
from entrostat.lab.watch import Watcher
from entrostat.registry import flags
from entrostat.reproduce.effects import EffectJob, digest
from entrostat.reproduce.tokens import of_dumps

DIGITS = 5
"""Decimals of a run's numbers in its record."""
# one name per line would take a page
# fmt: off
SCORED_BY = (
    "versions", "engine", "task", "model", "dataset", *DATASET, "temperature",
    "threads", "prompts", "samples", "updates_per_rollout", "micro_batches",
    "eval_problems", "eval_samples", "eval_split",
)
# fmt: on
"""What the scores of a run's base model depend on, of its config.json: the model, the
problems, the sampler and the batches."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run: a method under a configuration, its seed included."""

    method: Method
    config: TrainConfig

    @property
    def command(self) -> str:
        """The command that makes the same run."""
        options, method = flags(self.config), as_arguments(self.method)
        return " ".join(["entrostat", "train", *options, *method])

    @property
    def rollouts(self) -> int:
        """Those that it trains on."""
        return self.config.steps

    @property
    def folder(self) -> str:
        """A name for its folder."""
        name = as_arguments(self.method)[0].replace(":", "-")
        return f"{name}-seed{self.config.seed}-{digest(self.command)}"


AnyJob = Job | EffectJob
Record = dict[str, Any]


class Records:
    """The records in a folder, and the runs that are still to be made there."""

    def __init__(self, path: Path):
        self.path, self.file = path, path / "runs.jsonl"
        self._by_command: dict[str, Record] = {}
        if not self.file.is_file():
            return
        lines = self.file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self._by_command[record["command"]] = record
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.file}, line {number}, is no record of a run ({error}): "
                    "take the line out"
                ) from None

    def __contains__(self, job: AnyJob) -> bool:
        return job.command in self._by_command

    def __getitem__(self, job: AnyJob) -> Record:
        return self._by_command[job.command]

    def have(self, jobs: Iterable[AnyJob]) -> bool:
        """Whether all of them are recorded."""
        return not self.missing(jobs)

    def missing(self, jobs: Iterable[AnyJob]) -> list[AnyJob]:
        """Those that are not recorded, each once."""
        by_command = {job.command: job for job in jobs if job not in self}
        return list(by_command.values())

    def train(self, jobs: Sequence[AnyJob], watch: Callable[[AnyJob], Watcher]) -> bool:
        """Makes and records those that are missing.

        False where Ctrl-C stopped it at a point to go on from.
        """
        training: list[Job] = []
        for job in self.missing(jobs):
            if isinstance(job, EffectJob):
                self._measure(job, watch(job))
            else:
                training.append(job)
        return self._train(training, watch)

    def _measure(self, job: EffectJob, watcher: Watcher) -> None:
        """All seeds of one measurement, one process per core."""
        measurement = Measurement(
            self.path / "runs" / job.folder, job.point, job.methods
        )
        start, counted = time.perf_counter(), 0

        def note(measured: Measured) -> None:
            # a watcher counts rollouts by lines, and there are no other ones here
            nonlocal counted
            while counted < measured.rollouts:
                counted += 1
                watcher.line({})

        measurement.run(first_seed=job.first_seed, rollouts=job.rollouts, note=note)
        # of this call alone: a measurement that was stopped and goes on says less than
        # it took
        elapsed = time.perf_counter() - start
        record = {
            "entrostat": entrostat.__version__,
            "versions": {"torch": torch.__version__},
            "engine": "fast",
            "seconds": round(elapsed * (os.cpu_count() or 1), 1),
            "rows": list(map(_short, measurement.rows)),
        }
        self._write(job, record)

    def _train(self, jobs: Sequence[Job], watch: Callable[[AnyJob], Watcher]) -> bool:
        start_scores = self._start_scores()
        runs = {job: self._run(job, start_scores) for job in jobs}
        unfinished = [job for job, run in runs.items() if run.summary is None]
        done = True
        if unfinished:
            watchers = list(map(watch, unfinished))
            done = train_all([runs[job] for job in unfinished], watchers)
        for job, run in runs.items():
            if run.summary is not None:
                self._write(job, measured(run))
                # only a run that goes on needs it
                shutil.rmtree(run.trainer_folder, ignore_errors=True)
        return done

    def _run(self, job: Job, start_scores: dict[str, Record]) -> Run:
        """The job's run, begun before or new, with the base model's scores if known."""
        path = self.path / "runs" / job.folder
        if (path / "config.json").is_file():
            return Run.open(path)
        run = new_run(job.config, job.method, path, job.command)
        scores = start_scores.get(_scored_by(run))
        if scores is not None:
            run.write_scores("start", scores)
        return run

    def _start_scores(self) -> dict[str, Record]:
        """Scores of base models, by what they depend on.

        One sampling serves all runs that start alike.
        """
        known: dict[str, Record] = {}
        for file in (self.path / "runs").glob("*/config.json"):
            run = Run.open(file.parent)
            scores = run.read_scores("start")
            if scores is not None:
                known[_scored_by(run)] = scores
        return known

    def _write(self, job: AnyJob, numbers: Record) -> None:
        record = {"command": job.command, **numbers}
        self.path.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._by_command[job.command] = record


def _short(row: PairedRollout) -> dict[str, Any]:
    """A row for the record: eight digits are far more than its noise leaves."""
    branches = [list(map(_eight_digits, branch)) for branch in row.branches]
    before = _eight_digits(row.before)
    return {**row._asdict(), "before": before, "branches": branches}


def _eight_digits(value: float) -> float:
    return float(f"{value:.8g}")


def _scored_by(run: Run) -> str:
    return json.dumps(list(map(run.config.get, SCORED_BY)))


def measured(run: Run) -> Record:
    """The record of a run that has ended.

    It holds versions, seconds, numbers by rollout, and right samples by problem.
    """
    text = (run.path / "metrics.jsonl").read_text(encoding="utf-8")
    lines = list(map(json.loads, text.splitlines()))
    summary = run.summary
    assert summary is not None
    record: Record = {
        "entrostat": run.config["entrostat"],
        "versions": run.config["versions"],
        "engine": run.config.get("engine", "trl"),
        "seconds": summary["seconds"],
    }
    for name in ("entropy", "reward", "clip_low", "clip_high"):
        record[name] = [_rounded(line.get(name)) for line in lines]
    record["predicted"] = list(map(_predicted, lines))
    record["regions"] = {}
    for region in ("E1", "E2", "E3", "E4"):
        record["regions"][region] = _mean(lines, f"{region}/change_kept")
    record["scores"] = {}
    for path in sorted(run.path.glob("scores-*.json")):
        record["scores"][path.stem.removeprefix("scores-")] = _scores(path)
    if (run.path / "dump").is_dir():
        record["tokens"] = of_dumps(run.path / "dump")
    return record


def _scores(path: Path) -> dict[str, Any]:
    """What a record keeps of a scoring: at the best temperature, where several were
    tried.
    """
    scores = json.loads(path.read_text(encoding="utf-8"))
    best = at_best(scores)
    kept = {
        "entropy": _rounded(scores["entropy"]),
        "samples": best["samples"],
        "correct": best["correct"],
    }
    if best is not scores:
        kept["temperature"] = scores["best_temperature"]
    return kept


def _predicted(line: dict[str, Any]) -> float | None:
    """First-order entropy change of the tokens that kept their gradient.

    In nats per unit step and trained token.
    """
    kept = [value for key, value in line.items() if key.endswith("/change_kept")]
    return _rounded(sum(kept)) if kept else None


def _mean(lines: list[dict[str, Any]], key: str) -> float | None:
    values = [line[key] for line in lines if line.get(key) is not None]
    return _rounded(sum(values) / len(values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
