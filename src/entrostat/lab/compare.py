"""A comparison: methods on one base model, the same problems and the same budget, each over several seeds.

    DIR/compare.json                      the plan, and the settings that were chosen
    DIR/1-grpo-seed0/ ...                 a run's folder for each method and seed
    DIR/choice/2-trl-sapo-1-seed1000/     the runs by which a method's setting was chosen

A method with SETTINGS whose word gives none of them is first run at each, on seeds of their own, and scored on
validation problems: a fixed draw from the training split, none of them held out. All that is missing is run, finished
runs stay, so a comparison that was stopped goes on where it was.
"""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import entrostat
from entrostat.files import held, is_taken, write_json
from entrostat.lab.config import TrainConfig, config_from_json
from entrostat.lab.evaluate import at_best, held_out, to_choose, validation
from entrostat.lab.methods import (
    SETTINGS,
    Method,
    aimed_at,
    from_json,
    label,
    method_name,
    to_json,
)
from entrostat.lab.run import Run
from entrostat.lab.side_by_side import train_all
from entrostat.lab.source import OnError, make_source
from entrostat.lab.train import (
    check_run,
    load_tokenizer,
    new_run,
    on_verifier_error,
    quiet,
)
from entrostat.lab.watch import Watcher

CHOICE_SEEDS = 2
"""Seeds of a choice: 1000 and up from the first compared one."""
MOST_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method of a comparison, as its word gave it."""

    word: str
    method: Method
    given: frozenset[str] = frozenset()
    """Options that the word names."""

    @property
    def settings(self) -> list[Method]:
        """What to choose from; empty where there is nothing to choose, or the word has chosen."""
        found = SETTINGS.get(method_name(self.method), ())
        if any(name in self.given for setting in found for name in setting):
            return []
        return [dataclasses.replace(self.method, **setting) for setting in found]

    def aimed_at(self, target: float) -> "Entry":
        """The same under a target for all, unless the word names its own."""
        return (
            self
            if "target" in self.given
            else dataclasses.replace(self, method=aimed_at(self.method, target))
        )


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
        """A comparison that has not begun. ValueError, before anything is written, where it could not run."""
        _check_new(path)
        if not 1 <= seeds <= MOST_SEEDS:
            raise ValueError(f"--seeds must be from 1 to {MOST_SEEDS}, got {seeds}")
        if target is not None:
            if not 0 < target < float("inf"):
                raise ValueError(f"--target must be over 0 nats, got {target}")
            entries = [entry.aimed_at(target) for entry in entries]
        _check(entries, config)
        methods = [
            {
                "word": entry.word,
                "method": to_json(entry.method),
                "settings": [to_json(m) for m in entry.settings],
            }
            for entry in entries
        ]
        plan = {
            "entrostat": entrostat.__version__,
            "command": command,
            "seeds": list(range(config.seed, config.seed + seeds)),
            "target": target,
            "config": dataclasses.asdict(config),
            "methods": methods,
        }
        path.mkdir(parents=True, exist_ok=True)
        made = cls(path, plan)
        with held(path):
            _check_new(path)  # another may have begun there meanwhile
            made._write()
        return made

    @classmethod
    def open(cls, path: Path) -> "Comparison":
        """An existing one. ValueError where there is none, or where its plan cannot be read."""
        file = path / "compare.json"
        if not file.is_file():
            raise ValueError(
                f"{path} holds no comparison (no compare.json in it): give the folder of one to --resume"
            )
        try:
            plan = json.loads(file.read_text(encoding="utf-8"))
            config_from_json(plan["config"])
            for method in plan["methods"]:
                for record in [method["method"], *method["settings"]]:
                    from_json(record)
            if not {"seeds", "target"} <= plan.keys():
                raise KeyError("seeds or target")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{file} is no plan of a comparison ({error}): it can't be continued"
            ) from None
        return cls(path, plan)

    @property
    def config(self) -> TrainConfig:
        return config_from_json(self.plan["config"])

    @property
    def seeds(self) -> list[int]:
        return self.plan["seeds"]

    @property
    def target(self) -> float | None:
        """Nats: the reference of every row, where the command gave one."""
        return self.plan["target"]

    def finish(self, watch: Callable[[Run], Watcher]) -> bool:
        """Trains what is missing, choices first; False where Ctrl-C stopped it at a resumable point.

        ValueError where another process is at it.
        """
        with self._held():
            return self._finish(watch)

    def _finish(self, watch: Callable[[Run], Watcher]) -> bool:
        open_choices = [
            i for i, method in enumerate(self.plan["methods"]) if method["settings"]
        ]
        open_choices = [
            i for i in open_choices if "choice" not in self.plan["methods"][i]
        ]
        groups = {i: self._choice_runs(i) for i in open_choices}
        if not _train(
            [run for group in groups.values() for runs in group for run in runs], watch
        ):
            return False
        for i, group in groups.items():
            self.plan["methods"][i]["choice"] = _choose(
                from_json(self.plan["methods"][i]["method"]), group
            )
        self._write()
        return _train(
            [run for i in range(len(self.plan["methods"])) for run in self.runs(i)],
            watch,
        )

    def on_verifier_error(self, told: OnError) -> None:
        """Changes what its runs that have not ended do about it. ValueError where they have no verifier."""
        with self._held():
            self.plan["config"] = dataclasses.asdict(
                dataclasses.replace(self.config, on_verifier_error=told)
            )
            self._write()
            for file in [
                *self.path.glob("*/config.json"),
                *self.path.glob("choice/*/config.json"),
            ]:
                on_verifier_error(Run.open(file.parent), told)

    def method(self, i: int) -> Method:
        """The i-th method, at its chosen setting."""
        record = self.plan["methods"][i]
        return from_json(
            record["settings"][record["choice"]["chosen"]]
            if record["settings"]
            else record["method"]
        )

    def runs(self, i: int) -> list[Run]:
        """The i-th method's runs, one a seed, made where they are missing."""
        method = self.method(i)
        name = f"{i + 1}-{_slug(method)}"
        return [
            _run(
                self.path / f"{name}-seed{seed}",
                dataclasses.replace(self.config, seed=seed),
                method,
            )
            for seed in self.seeds
        ]

    def _choice_runs(self, i: int) -> list[list[Run]]:
        """Of each setting, its runs on the seeds of the choice."""
        first = self.seeds[0] + MOST_SEEDS
        plain = dataclasses.replace(
            self.config, eval_split="validation", eval_at=(), probe_every=0, map_every=0
        )
        out = []
        for k, record in enumerate(self.plan["methods"][i]["settings"], 1):
            method = from_json(record)
            name = f"{i + 1}-{_slug(method)}-{k}"
            out.append(
                [
                    _run(
                        self.path / "choice" / f"{name}-seed{seed}",
                        dataclasses.replace(plain, seed=seed),
                        method,
                    )
                    for seed in range(first, first + CHOICE_SEEDS)
                ]
            )
        return out

    def _held(self) -> contextlib.AbstractContextManager[None]:
        return held(
            self.path,
            f"{self.path} is being run by another process: wait for it, or stop it",
        )

    def _write(self) -> None:
        write_json(self.path / "compare.json", self.plan)


def _check_new(path: Path) -> None:
    if is_taken(path):
        raise ValueError(
            f"{path} is not empty: choose another --out, or continue with --resume {path}"
        )


def _check(entries: list[Entry], config: TrainConfig) -> None:
    if not entries:
        raise ValueError(
            "no method given: entrostat compare METHOD..., each one word, quoted with its options"
        )
    quiet()
    task = make_source(config, load_tokenizer(config))
    held_out(task, config.eval_problems)
    if any(entry.settings for entry in entries):
        validation(task, config.eval_problems)
        if config.temperatures:
            to_choose(task, config.eval_problems, "validation")
    seen: set[str] = set()
    for entry in entries:
        for method in entry.settings or [entry.method]:
            check_run(config, method)
        if label(entry.method) in seen:
            raise ValueError(
                f"{label(entry.method)!r} is given twice: leave one out, or give it other options"
            )
        seen.add(label(entry.method))


def _slug(method: Method) -> str:
    return method_name(method).replace(":", "-")


def _run(path: Path, config: TrainConfig, method: Method) -> Run:
    return (
        Run.open(path)
        if (path / "config.json").is_file()
        else new_run(config, method, path)
    )


def _train(runs: list[Run], watch: Callable[[Run], Watcher]) -> bool:
    missing = [run for run in runs if run.summary is None]
    return not missing or train_all(missing, [watch(run) for run in missing])


def _choose(method: Method, groups: list[list[Run]]) -> dict[str, Any]:
    """{"by", "scores", "chosen"}: the criterion, each setting's score (mean over seeds), the best one's index."""
    aims = any(field.name == "target" for field in dataclasses.fields(method))
    score, best = (_late_error, min) if aims else (_right, max)
    scores = [statistics.fmean(score(run) for run in runs) for runs in groups]
    n = groups[0][0].config["eval_samples"]
    by = (
        "mean |H - target| over the second half, nats"
        if aims
        else f"mean@{n} + pass@{n} on validation problems"
    )
    if not aims and groups[0][0].config.get("temperatures"):
        by += ", at the run's best temperature"
    return {"by": by, "scores": scores, "chosen": scores.index(best(scores))}


def _right(run: Run) -> float:
    summary, n = run.summary, run.config["eval_samples"]
    assert summary is not None
    best = at_best(summary)
    return best[f"mean@{n}"]["value"] + best[f"pass@{n}"]["value"]


def _late_error(run: Run) -> float:
    late = lines(run)[run.config["steps"] // 2 :]
    # entropy is None where no token was trained on
    return statistics.fmean(
        abs(line["entropy"] - line["target"])
        for line in late
        if line["entropy"] is not None
    )


def lines(run: Run) -> list[dict[str, Any]]:
    """The run's rollouts."""
    return [
        json.loads(line)
        for line in (run.path / "metrics.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
