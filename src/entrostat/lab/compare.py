"""A comparison: methods on one base model, the same problems and the same budget, each
over several seeds.

    DIR/compare.json                    the plan, and the settings that were chosen
    DIR/1-grpo-seed0/ ...               a run's folder for each method and seed
    DIR/choice/2-trl-sapo-1-seed1000/   runs by which a method's setting was chosen

A method with SETTINGS whose word gives none of them is first run at each, on seeds of
their own, and scored on validation problems: a fixed draw from the training split, none
of them held out. Finished runs stay and what is missing is run, so a comparison that
was stopped goes on where it was.
"""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import entrostat
from entrostat.files import held, write_json
from entrostat.lab.compare_check import MOST_SEEDS, check_asked
from entrostat.lab.config import OnError, TrainConfig, config_from_json
from entrostat.lab.evaluate import at_best, held_out, to_choose, validation
from entrostat.lab.folders import check_comparison, check_new
from entrostat.lab.load import load_tokenizer
from entrostat.lab.methods import (
    SETTINGS,
    Method,
    aimed_at,
    from_json,
    label,
    method_name,
    to_json,
)
from entrostat.lab.quiet import quiet
from entrostat.lab.run import Run
from entrostat.lab.side_by_side import train_all
from entrostat.lab.source import make_source
from entrostat.lab.train import check_run, new_run, on_verifier_error
from entrostat.lab.watch import Watcher

CHOICE_SEEDS = 2
"""Seeds that each setting of a choice is run on: `MOST_SEEDS` and up from the first
compared one, so that no compared run takes part in its own choice."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method of a comparison, as its word gave it."""

    word: str
    method: Method
    given: frozenset[str] = frozenset()
    """Options that the word names."""

    @property
    def settings(self) -> list[Method]:
        """What to choose from; empty where there is nothing to choose, or the word has
        chosen."""
        settings = SETTINGS.get(method_name(self.method), ())
        chosen_among = set().union(*settings)
        if self.given & chosen_among:
            return []
        return [dataclasses.replace(self.method, **setting) for setting in settings]

    def aimed_at(self, target: float) -> "Entry":
        """The same under a target for all, unless the word names its own."""
        if "target" in self.given:
            return self
        return dataclasses.replace(self, method=aimed_at(self.method, target))

    def to_json(self) -> dict[str, Any]:
        """As the plan has it. A "choice" comes beside it once a setting is chosen."""
        settings = [to_json(setting) for setting in self.settings]
        method = to_json(self.method)
        return {"word": self.word, "method": method, "settings": settings}


class Comparison:
    """The folder of a comparison."""

    def __init__(self, path: Path, plan: dict[str, Any]):
        self.path, self.plan = path, plan

    @classmethod
    def create(
        cls,
        path: Path,
        entries: list[Entry],
        config: TrainConfig,
        *,
        seeds: int,
        target: float | None,
        command: str,
    ) -> "Comparison":
        """A comparison that has not begun.

        ValueError, before anything is written, where it could not run.
        """
        check_new(path)
        check_asked(len(entries), seeds, target)
        if target is not None:
            entries = [entry.aimed_at(target) for entry in entries]
        _check(entries, config)
        plan = {
            "entrostat": entrostat.__version__,
            "command": command,
            "seeds": list(range(config.seed, config.seed + seeds)),
            "target": target,
            "config": dataclasses.asdict(config),
            "methods": [entry.to_json() for entry in entries],
        }
        path.mkdir(parents=True, exist_ok=True)
        comparison = cls(path, plan)
        with held(path):
            # another process may have begun one there since
            check_new(path)
            comparison._write()
        return comparison

    @classmethod
    def open(cls, path: Path) -> "Comparison":
        """An existing one. ValueError where there is none, or where its plan cannot be
        read."""
        file = path / "compare.json"
        check_comparison(path)
        try:
            plan = json.loads(file.read_text(encoding="utf-8"))
            _check_plan(plan)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{file} is no plan of a comparison ({error}): it can't be continued"
            ) from None
        return cls(path, plan)

    @property
    def config(self) -> TrainConfig:
        """Of every run but for its seed."""
        return config_from_json(self.plan["config"])

    @property
    def seeds(self) -> list[int]:
        """The compared ones."""
        return self.plan["seeds"]

    @property
    def target(self) -> float | None:
        """Nats: the reference of every method, where the command gave one."""
        return self.plan["target"]

    @property
    def _methods(self) -> list[dict[str, Any]]:
        return self.plan["methods"]

    def finish(self, watch: Callable[[Run], Watcher]) -> bool:
        """Trains what is missing, choices first; False where Ctrl-C stopped it at a
        point to go on from.

        ValueError where another process runs it.
        """
        with self._held():
            if not self._choose(watch):
                return False
            runs = []
            for i in range(len(self._methods)):
                runs += self.runs(i)
            return _train(runs, watch)

    def _choose(self, watch: Callable[[Run], Watcher]) -> bool:
        """Chooses the settings that are still open; False where Ctrl-C stopped it.

        The runs of all choices go side by side.
        """
        runs_of: dict[int, list[list[Run]]] = {}
        runs: list[Run] = []
        for i, record in enumerate(self._methods):
            if record["settings"] and "choice" not in record:
                runs_of[i] = self._choice_runs(i)
                runs += [run for group in runs_of[i] for run in group]
        if not _train(runs, watch):
            return False
        for i, groups in runs_of.items():
            record = self._methods[i]
            record["choice"] = _choice(from_json(record["method"]), groups)
        self._write()
        return True

    def on_verifier_error(self, told: OnError) -> None:
        """Changes what its runs that have not ended do about it. ValueError where they
        have no verifier."""
        with self._held():
            config = dataclasses.replace(self.config, on_verifier_error=told)
            self.plan["config"] = dataclasses.asdict(config)
            self._write()
            for pattern in ("*/config.json", "choice/*/config.json"):
                for file in self.path.glob(pattern):
                    on_verifier_error(Run.open(file.parent), told)

    def method(self, i: int) -> Method:
        """The i-th method, at its chosen setting."""
        record = self._methods[i]
        if not record["settings"]:
            return from_json(record["method"])
        return from_json(record["settings"][record["choice"]["chosen"]])

    def runs(self, i: int) -> list[Run]:
        """The i-th method's runs, one per seed, made where they are missing."""
        method = self.method(i)
        name = f"{i + 1}-{_slug(method)}"
        return _runs(self.path / name, self.config, method, self.seeds)

    def _choice_runs(self, i: int) -> list[list[Run]]:
        """Of each setting of the i-th method, its runs on the seeds of the choice."""
        # a choice needs the scores at the end alone
        config = dataclasses.replace(
            self.config, eval_split="validation", eval_at=(), probe_every=0, map_every=0
        )
        first = self.seeds[0] + MOST_SEEDS
        seeds = list(range(first, first + CHOICE_SEEDS))
        groups = []
        for number, record in enumerate(self._methods[i]["settings"], 1):
            method = from_json(record)
            name = f"{i + 1}-{_slug(method)}-{number}"
            groups.append(_runs(self.path / "choice" / name, config, method, seeds))
        return groups

    def _held(self) -> contextlib.AbstractContextManager[None]:
        busy = f"{self.path} is being run by another process: wait for it, or stop it"
        return held(self.path, busy)

    def _write(self) -> None:
        write_json(self.path / "compare.json", self.plan)


def _check_plan(plan: Any) -> None:
    """Raises what reading a part of it raises."""
    config_from_json(plan["config"])
    for record in plan["methods"]:
        from_json(record["method"])
        for setting in record["settings"]:
            from_json(setting)
    if not {"seeds", "target"} <= plan.keys():
        raise KeyError("seeds or target")


def _check(entries: list[Entry], config: TrainConfig) -> None:
    """Raises ValueError for what would stop the comparison before its first rollout."""
    quiet()
    task = make_source(config, load_tokenizer(config))
    held_out(task, config.eval_problems)
    if any(entry.settings for entry in entries):
        validation(task, config.eval_problems)
        if config.temperatures:
            to_choose(task, config.eval_problems, "validation")
    labels: set[str] = set()
    for entry in entries:
        for method in entry.settings or [entry.method]:
            check_run(config, method)
        name = label(entry.method)
        if name in labels:
            raise ValueError(
                f"{name!r} is given twice: leave one out, or give it other options"
            )
        labels.add(name)


def _slug(method: Method) -> str:
    """The method's name in that of a folder."""
    return method_name(method).replace(":", "-")


def _runs(
    path: Path, config: TrainConfig, method: Method, seeds: list[int]
) -> list[Run]:
    """A method's runs at PATH-seedSEED, opened where they are there, else made."""
    runs = []
    for seed in seeds:
        folder = path.with_name(f"{path.name}-seed{seed}")
        if (folder / "config.json").is_file():
            runs.append(Run.open(folder))
        else:
            seeded = dataclasses.replace(config, seed=seed)
            runs.append(new_run(seeded, method, folder))
    return runs


def _train(runs: list[Run], watch: Callable[[Run], Watcher]) -> bool:
    """Trains those that have not ended; False where Ctrl-C stopped them."""
    missing = [run for run in runs if run.summary is None]
    return not missing or train_all(missing, [watch(run) for run in missing])


def _choice(method: Method, groups: list[list[Run]]) -> dict[str, Any]:
    """{"by", "scores", "chosen"}: the criterion, each setting's score (mean over
    seeds), and the number of the best one.

    A method that aims at a target is judged by how near it comes, any other one by its
    scores.
    """
    config = groups[0][0].config
    if any(field.name == "target" for field in dataclasses.fields(method)):
        by = "mean |H - target| over the second half, nats"
        score, best = _late_error, min
    else:
        n = config["eval_samples"]
        by = f"mean@{n} + pass@{n} on validation problems"
        if config.get("temperatures"):
            by += ", at the run's best temperature"
        score, best = _right, max
    scores = []
    for runs in groups:
        scores.append(statistics.fmean(score(run) for run in runs))
    return {"by": by, "scores": scores, "chosen": scores.index(best(scores))}


def _right(run: Run) -> float:
    """mean@n + pass@n of a finished run."""
    summary, n = run.summary, run.config["eval_samples"]
    assert summary is not None
    scores = at_best(summary)
    return scores[f"mean@{n}"]["value"] + scores[f"pass@{n}"]["value"]


def _late_error(run: Run) -> float:
    """Mean distance of entropy to its target over the run's second half, nats."""
    distances = []
    for line in lines(run)[run.config["steps"] // 2 :]:
        # None where no token was trained on
        if line["entropy"] is not None:
            distances.append(abs(line["entropy"] - line["target"]))
    return statistics.fmean(distances)


def lines(run: Run) -> list[dict[str, Any]]:
    """The lines of its metrics.jsonl, one per rollout."""
    text = (run.path / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
