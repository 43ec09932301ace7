"""Reads the folders of runs, finished or not.

A report is made of files that a run left behind, perhaps in the middle of a line, and that anybody may have edited. So
nothing here is trusted: a value of the wrong type counts as missing, a line that is no JSON object is counted and
skipped, text is bounded in length and freed of characters that reorder or hide what stands beside them.
"""

import json
import math
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

LONGEST_LINE = 1 << 20
"""Characters of a line of metrics.jsonl; a longer one is skipped."""
LARGEST_JSON = 1 << 22
"""Characters of config.json or summary.json; a larger one is not read."""
LARGEST_INTEGER = 1 << 53
MOST_THRESHOLDS = 64
"""Of one side of a response map, and how large they may be; another map is skipped."""
LARGEST_THRESHOLD = 1e3
MOST_EVALUATIONS = 200
"""Evaluations in the course of a run; later ones are left out."""
LONGEST_LABEL = 60
LONGEST_TEXT = 500

# What makes two runs of one label more than two seeds of one experiment.
EXPERIMENT = (
    *(
        "task",
        "model",
        "reward",
        "steps",
        "prompts",
        "samples",
        "updates_per_rollout",
        "learning_rate",
        "loss_type",
    ),
    *("scale_rewards", "temperature", "max_grad_norm", "eval_problems", "eval_samples"),
)
_SCORE = re.compile(r"(?:mean|pass)@[1-9][0-9]{0,5}")
_K = re.compile(r"[1-9][0-9]{0,5}")
_BETWEEN = re.compile(r"scores-([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True)
class Score:
    """A share of held-out answers or problems in [0, 1], with its 95% interval where the run gave one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation on held-out problems gave."""

    scores: Mapping[str, Score]
    """By name, mean@N and pass@N."""
    pass_at: Mapping[int, Score]
    """pass@k by k, ascending."""


@dataclass(frozen=True)
class ResponseMap:
    """What other clip thresholds would have done to entropy in one rollout."""

    lows: tuple[float, ...]
    """Thresholds of the rows, ascending; the last may be inf."""
    highs: tuple[float, ...]
    """Of the columns, likewise."""
    change: tuple[tuple[float | None, ...], ...]
    low: float | None
    """The threshold in force, a mean over tokens; None where none was finite."""
    high: float | None
    kept: float | None
    """The change under the bounds in force, and had nothing been clipped."""
    unclipped: float | None
    tokens: int | None


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path
    label: str
    """What the run calls its method; runs of one experiment share it, whatever their seed."""
    name: str
    """Unique within a report: the label, the seed, and the folder where these do not tell two runs apart."""
    seed: int | None
    config: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, float]]
    """Finite numbers of metrics.jsonl by step, ascending; a key that is null or no number is absent."""
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

    @property
    def finished(self) -> bool:
        return self.summary is not None

    @property
    def planned(self) -> int | None:
        """Rollouts that the run was set to do."""
        return integer(self.config.get("steps"))

    def curve(self, key: str) -> list[float | None]:
        """The values of `key`, one a row and None where the row lacks it; empty when no row has it."""
        values = [row.get(key) for row in self.rows.values()]
        return values if any(value is not None for value in values) else []

    def entropies(self) -> tuple[float | None, float | None]:
        """Mean token entropy at the start and at the end, in nats; for an unfinished run, of its first and last row."""
        seen = [value for value in self.curve("entropy") if value is not None]
        summary = self.summary or {}
        start, end = (
            number(summary.get("entropy_start")),
            number(summary.get("entropy_end")),
        )
        first, last = (seen[0], seen[-1]) if seen else (None, None)
        return first if start is None else start, last if end is None else end

    def command(self) -> str:
        """The command line that the run recorded, else one rebuilt from its settings."""
        recorded = self.config.get("command")
        if isinstance(recorded, list) and recorded:
            return shlex.join(text(part) for part in recorded)
        if isinstance(recorded, str) and recorded.strip():
            return text(recorded, limit=4 * LONGEST_TEXT)
        words = ["entrostat", "train"]
        for key in ("seed", *EXPERIMENT):
            if self.config.get(key) not in (None, ""):
                words += ["--" + key.replace("_", "-"), text(self.config[key])]
        name, options = _strategy(self.config)
        words += [name] if name else []
        for key, value in options.items():
            words += ["--" + text(key).replace("_", "-"), text(value)]
        return shlex.join(words)


def number(value: Any) -> float | None:
    """`value` as a finite float, None when it is anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def integer(value: Any) -> int | None:
    """`value` as an int of at most 2^53 in size, None when it is anything else."""
    value = number(value)
    return (
        int(value)
        if value is not None and value.is_integer() and abs(value) <= LARGEST_INTEGER
        else None
    )


def text(value: Any, limit: int = LONGEST_TEXT) -> str:
    """`value` as text that is safe to show (not to embed: it is not escaped), cut to `limit` characters.

    Control and format characters (among them those that turn the reading direction) and lone surrogates become U+FFFD.

    >>> text(0.0001), text(True), text("a\\u202eb")
    ('0.0001', 'true', 'a\ufffdb')
    """
    plain = _plain(value)[: limit + 1]
    plain = "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
        for c in plain
    )
    return plain if len(plain) <= limit else plain[:limit] + "…"


def _plain(value: Any) -> str:
    if isinstance(value, str | float):
        return str(value)
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "…"


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs in `paths`, each once, in the order given, with names that tell them apart.

    Raises ValueError for no path at all, and naming the path that is no run's folder (it has no metrics.jsonl).
    """
    unique = {path.resolve(): path for path in reversed(list(paths))}
    runs = [_read_run(path) for path in reversed(unique.values())]
    if not runs:
        raise ValueError("a report needs at least one run's folder, got none")
    return _named(runs)


def _read_run(path: Path) -> Run:
    if not (path / "metrics.jsonl").is_file():
        raise ValueError(
            f"{text(str(path))} is not a run's folder (it has no metrics.jsonl): give a folder that a run wrote"
        )
    problems: list[str] = []
    config = _read_json(path / "config.json", problems)
    summary = (
        _read_json(path / "summary.json", problems)
        if (path / "summary.json").exists()
        else None
    )
    rows, skipped = _read_rows(path / "metrics.jsonl")
    between, maps = (
        _read_between(path, problems),
        _read_maps(path / "response.jsonl", problems),
    )
    strategy, _ = _strategy(config or {})
    label = (config or {}).get("label")
    return Run(
        path=path,
        label=text(
            label
            if isinstance(label, str) and label.strip()
            else strategy or path.resolve().name,
            LONGEST_LABEL,
        ),
        name="",
        seed=integer((config or {}).get("seed")),
        config=config or {},
        rows=rows,
        skipped=skipped,
        problems=tuple(problems),
        summary=summary,
        start=evaluation((summary or {}).get("start")),
        end=evaluation(summary),
        between=between,
        maps=maps,
    )


def _read_json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            problems.append(
                f"{path.name} is over {LARGEST_JSON} characters and was not read"
            )
            return None
        value = json.loads(content)
    except OSError as error:
        problems.append(f"{path.name} can't be read ({error.strerror})")
        return None
    except (ValueError, RecursionError):
        problems.append(f"{path.name} is not valid JSON")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name} holds no JSON object")
        return None
    return value


def _read_rows(path: Path) -> tuple[dict[int, dict[str, float]], int]:
    rows: dict[int, dict[str, float]] = {}
    skipped = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in _lines(file):
            row = _row(line)
            if row is not None:
                rows[int(row["step"])] = row
            elif line.strip():
                skipped += 1
    return dict(sorted(rows.items())), skipped


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of `file`, each cut to `LONGEST_LINE` characters, which leaves no whole JSON of a longer one."""
    while line := file.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = file.readline(LONGEST_LINE)


def _row(line: str) -> dict[str, float] | None:
    value = _object(line)
    if value is None or _step(value) is None:
        return None
    return {
        key: finite
        for key, each in value.items()
        if (finite := number(each)) is not None
    }


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _step(value: Mapping[str, Any]) -> int | None:
    step = integer(value.get("step"))
    return step if step is not None and 0 <= step < LARGEST_INTEGER else None


def _read_between(path: Path, problems: list[str]) -> dict[int, Evaluation]:
    found = [
        (int(match[1]), file)
        for file in path.iterdir()
        if (match := _BETWEEN.fullmatch(file.name))
    ]
    chosen = sorted(pair for pair in found if pair[1].is_file())[:MOST_EVALUATIONS]
    read = ((rollouts, _read_json(file, problems)) for rollouts, file in chosen)
    return {
        rollouts: evaluation(value) for rollouts, value in read if value is not None
    }


def _read_maps(path: Path, problems: list[str]) -> dict[int, ResponseMap]:
    """The maps of response.jsonl; none where there is no such file, as in runs of before there were maps."""
    maps: dict[int, ResponseMap] = {}
    skipped = 0
    if not path.is_file():
        return maps
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in _lines(file):
                value = _object(line) or {}
                step, found = _step(value), _map(value)
                if step is not None and found is not None:
                    maps[step] = found
                elif line.strip():
                    skipped += 1
    except OSError as error:
        problems.append(f"{path.name} can't be read ({error.strerror})")
    if skipped:
        problems.append(
            f"{skipped} line{'s' * (skipped > 1)} of {path.name} cut or unreadable, skipped"
        )
    return dict(sorted(maps.items()))


def _map(value: Mapping[str, Any]) -> ResponseMap | None:
    lows, highs = _thresholds(value.get("lows")), _thresholds(value.get("highs"))
    rows = value.get("change")
    if not lows or not highs or not isinstance(rows, list) or len(rows) != len(lows):
        return None
    if not all(isinstance(row, list) and len(row) == len(highs) for row in rows):
        return None
    change = tuple(tuple(number(each) for each in row) for row in rows)
    force = value.get("in_force")
    force = force if isinstance(force, dict) else {}
    low, high = number(force.get("low")), number(force.get("high"))
    kept, unclipped = (
        number(value.get("predicted")),
        number(value.get("total_unclipped")),
    )
    return ResponseMap(
        lows, highs, change, low, high, kept, unclipped, integer(value.get("tokens"))
    )


def _thresholds(value: Any) -> tuple[float, ...]:
    """Ascending numbers, the last of them perhaps "inf"; empty for anything else."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_THRESHOLDS:
        return ()
    found = [math.inf if each == "inf" else number(each) for each in value]
    known = [
        each
        for each in found
        if each is not None and (abs(each) <= LARGEST_THRESHOLD or each == math.inf)
    ]
    return (
        tuple(known)
        if known == found and all(a < b for a, b in pairwise(known))
        else ()
    )


def evaluation(value: Any) -> Evaluation:
    fields = value if isinstance(value, dict) else {}
    scores = {
        key: score
        for key in fields
        if _SCORE.fullmatch(key) and (score := _score(fields[key]))
    }
    by_k = fields.get("pass@k")
    by_k = by_k if isinstance(by_k, dict) else {}
    pass_at = {
        int(key): score
        for key in by_k
        if _K.fullmatch(key) and (score := _score(by_k[key]))
    }
    return Evaluation(scores, dict(sorted(pass_at.items())))


def _score(value: Any) -> Score | None:
    fields = value if isinstance(value, dict) else {"value": value}
    middle, low, high = (number(fields.get(key)) for key in ("value", "low", "high"))
    if middle is None:
        return None
    return (
        Score(middle, low, high)
        if low is not None and high is not None
        else Score(middle)
    )


def _strategy(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    strategy = config.get("strategy")
    strategy = strategy if isinstance(strategy, dict) else {"name": strategy}
    name, options = strategy.get("name"), strategy.get("options")
    return text(name) if isinstance(name, str) else "", options if isinstance(
        options, dict
    ) else {}


def experiment(run: Run) -> dict[str, str]:
    """The settings that make the run's experiment, all but its seed: the strategy, its options, and `EXPERIMENT`."""
    name, options = _strategy(run.config)
    settings = {"strategy": name} | {
        text(key): text(value) for key, value in options.items()
    }
    return settings | {
        key: text(run.config[key])
        for key in EXPERIMENT
        if run.config.get(key) not in (None, "")
    }


def _named(runs: list[Run]) -> list[Run]:
    """Sorts runs by label in order of appearance, then by seed, and gives each a label and a name of its own.

    Runs that share a label but not their settings are no seeds of one experiment: the settings that differ join it.
    """
    told = []
    for run in runs:
        peers = [experiment(other) for other in runs if other.label == run.label]
        own = experiment(run)
        differ = [
            key for key in own if any(other.get(key) != own[key] for other in peers)
        ]
        extra = ", ".join(f"{key} {own[key]}" for key in differ)
        told.append(
            replace(run, label=text(f"{run.label} ({extra})", 2 * LONGEST_LABEL))
            if extra
            else run
        )
    order = list(dict.fromkeys(run.label for run in told))
    told.sort(key=lambda run: (order.index(run.label), run.seed is None, run.seed or 0))
    candidates = list(zip(*map(_names, told), strict=True))
    return [
        replace(
            run,
            name=next(
                (form[i] for form in candidates if form.count(form[i]) == 1),
                candidates[-1][i],
            ),
        )
        for i, run in enumerate(told)
    ]


def _names(run: Run) -> tuple[str, str, str]:
    """What a run may be called, the shortest first."""
    short = run.label if run.seed is None else f"{run.label}, seed {run.seed}"
    where = run.path.resolve()
    return (
        short,
        f"{short} ({text(where.name, LONGEST_LABEL)})",
        f"{short} ({text(str(where))})",
    )
