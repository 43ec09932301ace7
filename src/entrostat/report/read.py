"""Reads the folders of runs, finished or not, and gives each run a name of its own.

untrusted.py says what is taken for missing; scores.py and maps.py read their files, and
logs.py those of runs that are not entrostat's own.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from entrostat.report.logs import Log, logs
from entrostat.report.maps import ResponseMap, read_maps
from entrostat.report.metric_names import in_our_names
from entrostat.report.scores import Evaluation, evaluation, read_between
from entrostat.report.untrusted import (
    LONGEST_TEXT,
    integer,
    mapping,
    number,
    read_by_step,
    read_json,
    read_steps,
    text,
)

LONGEST_LABEL = 60
"""Characters."""
PARTS = 20
"""The first and last number of a log are means over one of so many parts of it: one
rollout is noisy."""

EXPERIMENT = (
    "task",
    "model",
    "reward",
    "steps",
    "prompts",
    "samples",
    "updates_per_rollout",
    "learning_rate",
    "loss_type",
    "scale_rewards",
    "temperature",
    "max_grad_norm",
    "eval_problems",
    "eval_samples",
)
"""Settings in which two seeds of one experiment do not differ."""


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path
    label: str
    """What the run calls its method. Runs of one experiment share it, whatever their
    seed."""
    name: str
    """Unique within a report: the label, the seed, and the folder where these do not
    tell two runs apart."""
    seed: int | None
    config: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, float]]
    """Finite numbers of metrics.jsonl by step, ascending. A key that is null or no
    number is absent."""
    skipped: int
    """Lines of metrics.jsonl that are cut or hold no rollout."""
    problems: tuple[str, ...]
    """What else of the folder could not be read, one line each."""
    summary: Mapping[str, Any] | None
    """None while the run has not finished."""
    start: Evaluation
    """The base model's scores, before training."""
    end: Evaluation
    between: Mapping[int, Evaluation] = field(default_factory=dict)
    """Evaluations in the course of the run, by the rollouts done, ascending."""
    maps: Mapping[int, ResponseMap] = field(default_factory=dict)
    """By step, ascending."""
    seconds: Mapping[int, float] = field(default_factory=dict)
    """That each rollout took, by step, ascending; scores that were taken between rollouts
    do not count."""

    foreign: bool = False
    """Read from another program's log: a step is the trainer's, and there is no
    summary."""

    @property
    def finished(self) -> bool:
        return self.summary is not None or self.foreign

    @property
    def planned(self) -> int | None:
        """Rollouts that the run was set to do."""
        return integer(self.config.get("steps"))

    def curve(self, key: str) -> list[float | None]:
        """The values of `key`, one per row; empty when no row has it.

        None stands where a row lacks it.
        """
        if not self.known(key):
            return []
        return [row.get(key) for row in self.rows.values()]

    def line(self, key: str) -> dict[int, float | None]:
        """`curve` by step."""
        return dict(zip(self.rows, self.curve(key), strict=False))

    def known(self, key: str) -> dict[int, float]:
        """The values of `key` by step, without the rows that lack it."""
        return {step: row[key] for step, row in self.rows.items() if key in row}

    def entropies(self) -> tuple[float | None, float | None]:
        """Mean token entropy at the start and at the end, in nats.

        Those of the summary; where it has none, of the first and the last row; of another
        program's log the means of its first and last part.
        """
        if self.foreign:
            return ends(list(self.known("entropy").values()))
        summary = self.summary or {}
        start = number(summary.get("entropy_start"))
        end = number(summary.get("entropy_end"))
        of_rows = list(self.known("entropy").values()) or [None]
        if start is None:
            start = of_rows[0]
        if end is None:
            end = of_rows[-1]
        return start, end

    def recorded_command(self) -> str:
        """The command line that made the run, where its folder records it; else empty."""
        recorded = self.config.get("command")
        if isinstance(recorded, list) and recorded:
            return shlex.join(map(text, recorded))
        if isinstance(recorded, str) and recorded.strip():
            return text(recorded, limit=4 * LONGEST_TEXT)
        return ""

    def command(self) -> str:
        """The command line that the run recorded, else one rebuilt from settings; of
        another program's run the log."""
        if self.foreign:
            return f"read from {text(str(self.path))}"
        return self.recorded_command() or shlex.join(self._rebuilt())

    def _rebuilt(self) -> Iterator[str]:
        """The words of `entrostat train` with the settings of config.json."""
        yield from ("entrostat", "train")
        for key in ("seed", *EXPERIMENT):
            if self.config.get(key) not in (None, ""):
                yield "--" + key.replace("_", "-")
                yield text(self.config[key])
        name, options = _strategy(self.config)
        if name:
            yield name
        for key, value in options.items():
            yield "--" + text(key).replace("_", "-")
            yield text(value)


def _strategy(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the run's strategy and its options; both empty where not known."""
    strategy = config.get("strategy")
    if isinstance(strategy, str):
        return text(strategy), {}
    fields = mapping(strategy)
    name = fields.get("name")
    return text(name) if isinstance(name, str) else "", mapping(fields.get("options"))


def experiment(run: Run) -> dict[str, str]:
    """The settings that make the run's experiment, all but its seed, as text.

    These are the strategy, its options, and `EXPERIMENT`.
    """
    name, options = _strategy(run.config)
    settings = {"strategy": name}
    for key, value in options.items():
        settings[text(key)] = text(value)
    for key in EXPERIMENT:
        if run.config.get(key) not in (None, ""):
            settings[key] = text(run.config[key])
    return settings


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs in `paths`, each once, with names that tell them apart.

    A path is a run's folder, a log (logs.py), or a folder of these. They stand by label
    in order of appearance, then by seed.

    Raises ValueError for no path at all, and naming the path that holds no run.
    """
    seen: dict[Path, list[Run]] = {}
    for path in paths:
        if path.resolve() not in seen:
            seen[path.resolve()] = _runs_of(path)
    runs = _told_apart([run for found in seen.values() for run in found])
    if not runs:
        raise ValueError("a report needs at least one run's folder, got none")
    return _named(_sorted(_labelled(runs)))


def _runs_of(path: Path) -> list[Run]:
    """The run in a folder, those of its log, or those of the folders in it."""
    if not path.exists():
        raise ValueError(f"{text(str(path))}: there is no such file or folder")
    found = _runs_in(path)
    if not found and path.is_dir():
        for folder in sorted(path.iterdir()):
            if folder.is_dir():
                found += _runs_in(folder)
    if not found:
        raise ValueError(
            f"{text(str(path))} holds no run: no metrics.jsonl of entrostat, no "
            "trainer_state.json of TRL, no log of verl (.jsonl, .log), no TensorBoard "
            "events, no trackio .db, no exported .csv"
        )
    return found


def _runs_in(path: Path) -> list[Run]:
    """The run of a folder, or those of a log or of a folder's logs; none where there is
    no run."""
    if (path / "metrics.jsonl").is_file():
        return [_read_run(path)]
    return [_from_log(log) for log in logs(path)]


def _told_apart(runs: list[Run]) -> list[Run]:
    """The runs with the folder in front of a log's label that another log has too.

    Runs of one label are taken as seeds of one experiment, which logs are not.
    """
    labels = [run.label for run in runs if run.foreign]
    told = []
    for run in runs:
        if run.foreign and labels.count(run.label) > 1:
            folder = run.path.resolve().parent.name
            label = text(f"{folder}/{run.label}", LONGEST_LABEL)
            run = replace(run, label=label)
        told.append(run)
    return told


def ends(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The means of the first and of the last part of a log; None where it is empty."""
    if not values:
        return None, None
    part = max(1, len(values) // PARTS)
    return fmean(values[:part]), fmean(values[-part:])


def _from_log(log: Log) -> Run:
    """Another program's run; what it does not log is absent."""
    rows = {step: in_our_names(logged) for step, logged in log.steps.items()}
    # when a step was says nothing of it
    rows = {step: row for step, row in rows.items() if row.keys() - {"clock"}}
    names = sorted({name for logged in log.steps.values() for name in logged})
    problems = []
    if not any("entropy" in row for row in rows.values()):
        logged = text(", ".join(names), 200)
        problems.append(f"{log.file.name} has no entropy; it has {logged}")
    place = log.file.parent
    # a checkpoint's folder says nothing of the run
    if place.name.startswith("checkpoint-"):
        place = place.parent
    return Run(
        path=log.file,
        label=text(log.name or place.resolve().name, LONGEST_LABEL),
        name="",
        seed=None,
        config={},
        rows=rows,
        skipped=0,
        problems=tuple(problems),
        summary=None,
        start=evaluation(None),
        end=evaluation(None),
        foreign=True,
    )


def _read_run(path: Path) -> Run:
    """The run in a folder of ours, without a name."""
    problems: list[str] = []
    config = read_json(path / "config.json", problems) or {}
    summary = None
    if (path / "summary.json").exists():
        summary = read_json(path / "summary.json", problems)
    rows, skipped = read_by_step(path / "metrics.jsonl", _finite_numbers)
    between = read_between(path, problems)
    maps = read_maps(path / "response.jsonl", problems)
    seconds = read_steps(path / "timing.jsonl", _seconds, problems)
    return Run(
        path=path,
        label=_label(config, path),
        name="",
        seed=integer(config.get("seed")),
        config=config,
        rows=rows,
        skipped=skipped,
        problems=tuple(problems),
        summary=summary,
        start=evaluation((summary or {}).get("start")),
        end=evaluation(summary),
        between=between,
        maps=maps,
        seconds=seconds,
    )


def _seconds(fields: Mapping[str, Any]) -> float | None:
    """What a line of timing.jsonl says."""
    return number(fields.get("seconds"))


def _finite_numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl without what is no finite number."""
    numbers: dict[str, float] = {}
    for key, value in fields.items():
        finite = number(value)
        if finite is not None:
            numbers[key] = finite
    return numbers


def _label(config: Mapping[str, Any], path: Path) -> str:
    """The label of config.json, else the strategy's name, else the folder's."""
    label = config.get("label")
    if not isinstance(label, str) or not label.strip():
        name, _ = _strategy(config)
        label = name or path.resolve().name
    return text(label, LONGEST_LABEL)


def _labelled(runs: list[Run]) -> list[Run]:
    """The runs with labels that seeds of one experiment share, and no other run.

    Runs of one label with unequal settings are no seeds of one experiment: the
    settings in which they differ join their labels.
    """
    labelled = []
    for run in runs:
        own = experiment(run)
        peers = [experiment(other) for other in runs if other.label == run.label]
        unequal = []
        for key, value in own.items():
            if any(peer.get(key) != value for peer in peers):
                unequal.append(f"{key} {value}")
        if unequal:
            label = f"{run.label} ({', '.join(unequal)})"
            run = replace(run, label=text(label, 2 * LONGEST_LABEL))
        labelled.append(run)
    return labelled


def _sorted(runs: list[Run]) -> list[Run]:
    """By label in order of appearance, then by seed, those without a seed last."""
    labels = [run.label for run in runs]

    def place(run: Run) -> tuple[int, bool, int]:
        return labels.index(run.label), run.seed is None, run.seed or 0

    return sorted(runs, key=place)


def _named(runs: list[Run]) -> list[Run]:
    """The runs, each with the shortest of its names that no other run has too."""
    all_names = list(map(_names, runs))
    named = []
    for run, names in zip(runs, all_names, strict=True):
        name = names[-1]
        # the longest is tried last, and taken even where it is not unique
        for form in reversed(range(len(names))):
            taken = [others[form] for others in all_names]
            if taken.count(names[form]) == 1:
                name = names[form]
        named.append(replace(run, name=name))
    return named


def _names(run: Run) -> tuple[str, str, str]:
    """What a run may be called, the shortest first."""
    short = run.label if run.seed is None else f"{run.label}, seed {run.seed}"
    where = run.path.resolve()
    folder = text(where.name, LONGEST_LABEL)
    return short, f"{short} ({folder})", f"{short} ({text(str(where))})"
