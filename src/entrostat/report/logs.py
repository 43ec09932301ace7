"""Logs of other people's runs: what is in a file, and which files of a folder to read.

    trainer_state.json   TRL and transformers: log_history, of the newest checkpoint
    *.jsonl              verl's file logger: {"step": 1, "data": {...}}
    events.out.tfevents  TensorBoard's, by its own package
    *.csv                exported from a tracker's page, one column per run and metric
    *.db                 trackio
    *.log, *.out, *.txt  verl's console: step:1 - actor/entropy:0.4 - ...

No file is executed or unpickled, and nothing in one is trusted (untrusted.py).
"""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from entrostat.report.untrusted import integer, mapping, number, text

Steps = dict[int, dict[str, float]]
"""Logged numbers by step."""
LARGEST_LOG = 1 << 28
"""Bytes of a log; a larger one is not read."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Colours of a console that was saved to a file."""
CONSOLE_STEP = re.compile(r"\bstep:(\d+)((?: - [^\s:]+:\S+)+)")


class Log(NamedTuple):
    """One run, as a log has it."""

    file: Path
    name: str
    """What the log calls the run; empty where it does not."""
    steps: Steps


class Format(NamedTuple):
    """One kind of log."""

    patterns: tuple[str, ...]
    """Of its files in a folder."""
    read: Callable[[Path], Iterable[tuple[str, Steps]]]
    """The runs in a file, by name; ValueError for a file that is none of this kind."""


def logs(path: Path) -> list[Log]:
    """The runs in a log, or in the logs of a folder: those of the first format of which
    the folder has files.

    Raises:
        ValueError: a file that is no log, or has no number; nothing where a folder has
            no log at all.
    """
    if path.is_file():
        return _of_file(path)
    for form in FORMATS:
        files = sorted(file for pattern in form.patterns for file in path.glob(pattern))
        if form.read is _trainer_state:
            # each checkpoint repeats the history of those before it
            files = sorted(files, key=_checkpoint)[-1:]
        found = []
        for file in files:
            found += _of_format(file, form)
        if found:
            return found
    return []


def _of_file(file: Path) -> list[Log]:
    for form in FORMATS:
        if any(file.match(Path(pattern).name) for pattern in form.patterns):
            found = _of_format(file, form)
            if found:
                return found
    raise ValueError(
        f"{text(str(file))} holds no numbers of a run that can be read: give a run's "
        "folder, trainer_state.json, verl's .jsonl or console log, TensorBoard events, "
        "trackio's .db, or a .csv exported from a tracker"
    )


def _of_format(file: Path, form: Format) -> list[Log]:
    """The runs of a file; none where it is of another kind."""
    if file.stat().st_size > LARGEST_LOG:
        raise ValueError(f"{text(str(file))} is over {LARGEST_LOG >> 20} MiB")
    found = []
    for name, steps in form.read(file):
        if any(steps.values()):
            found.append(Log(file, text(name, 60), dict(sorted(steps.items()))))
    return found


def _checkpoint(file: Path) -> tuple[int, int]:
    """Order of checkpoints by their step; the folder's own file is the last."""
    step = integer(_last_number(file.parent.name))
    in_checkpoint = file.parent.name.startswith("checkpoint-")
    return (0, step or 0) if in_checkpoint else (1, 0)


def _last_number(name: str) -> int | None:
    digits = re.search(r"(\d+)$", name)
    return int(digits[1]) if digits else None


def _add(steps: Steps, step: Any, logged: Mapping[str, Any]) -> None:
    """The finite numbers of `logged` into their step; of two the later counts."""
    at = integer(step)
    if at is None or at < 0:
        return
    for name, value in logged.items():
        finite = number(value)
        if finite is not None:
            steps.setdefault(at, {})[str(name)] = finite


def _trainer_state(file: Path) -> Iterator[tuple[str, Steps]]:
    """TRL's own history. Lines of an evaluation, and the last one, of the whole run, are
    left out."""
    try:
        state = mapping(json.loads(file.read_text(encoding="utf-8", errors="replace")))
    except (ValueError, RecursionError):
        raise ValueError(f"{text(str(file))} is not valid JSON") from None
    steps: Steps = {}
    history = state.get("log_history")
    for line in history if isinstance(history, list) else []:
        logged = mapping(line)
        is_evaluation = any(str(name).startswith("eval_") for name in logged)
        if not is_evaluation and "train_runtime" not in logged:
            at = logged.get("step")
            rest = {name: x for name, x in logged.items() if name != "step"}
            _add(steps, at, rest)
    yield "", steps


def _verl_file(file: Path) -> Iterator[tuple[str, Steps]]:
    steps: Steps = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = mapping(json.loads(line))
            except (ValueError, RecursionError):
                continue  # cut in the middle
            _add(steps, record.get("step"), mapping(record.get("data")))
    yield file.stem, steps


def _console(file: Path) -> Iterator[tuple[str, Steps]]:
    steps: Steps = {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            printed = CONSOLE_STEP.search(ESCAPES.sub("", line))
            if printed is None:
                continue
            pairs = (pair.rpartition(":") for pair in printed[2].split(" - ") if pair)
            logged = {name: _read_number(value) for name, _, value in pairs}
            _add(steps, int(printed[1]), logged)
    yield file.stem, steps


def _read_number(word: str) -> float | None:
    """A number as text, numpy's repr too: np.float64(0.4)."""
    inner = re.fullmatch(r"np\.\w+\((.*)\)", word)
    try:
        return float(inner[1] if inner else word)
    except ValueError:
        return None


def _csv(file: Path) -> Iterator[tuple[str, Steps]]:
    """A tracker's export: `Step`, then a column per metric, or per run and metric
    (`RUN - METRIC`, with __MIN and __MAX beside it)."""
    content = file.read_text(encoding="utf-8-sig", errors="replace")
    rows = list(csv.DictReader(io.StringIO(content)))
    if not rows:
        return
    heads = [head for head in rows[0] if head]
    by_lower = {head.lower(): head for head in heads}
    at = next(
        (by_lower[n] for n in ("step", "_step", "global_step") if n in by_lower), ""
    )
    if not at:
        return
    runs: dict[str, Steps] = {}
    for row in rows:
        step = _read_number((row[at] or "").strip())
        for head in heads:
            if head == at or head.endswith(("__MIN", "__MAX")):
                continue
            run, dash, metric = head.rpartition(" - ")
            value = _read_number((row[head] or "").strip())
            _add(runs.setdefault(run, {}), step, {metric if dash else head: value})
    yield from runs.items()


def _trackio(file: Path) -> Iterator[tuple[str, Steps]]:
    """Its table `metrics`: run_name, step, metrics as JSON, and in newer ones timestamp,
    an ISO date."""
    # read-only: a database is never made or changed
    database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    try:
        rows = database.execute("SELECT * FROM metrics").fetchall()
    except sqlite3.DatabaseError:
        return
    finally:
        database.close()
    runs: dict[str, Steps] = {}
    for row in map(dict, rows):
        try:
            logged = mapping(json.loads(row.get("metrics", "")))
        except (TypeError, ValueError, RecursionError):
            continue
        clock = {"_timestamp": _read_date(row.get("timestamp"))}
        run = str(row.get("run_name"))
        _add(runs.setdefault(run, {}), row.get("step"), logged | clock)
    yield from runs.items()


def _read_date(written: Any) -> float | None:
    """Seconds of an ISO date; None for anything else."""
    try:
        return datetime.fromisoformat(written).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _events(file: Path) -> Iterator[tuple[str, Steps]]:
    try:
        from tensorboard.backend.event_processing.event_accumulator import (
            SCALARS,
            EventAccumulator,
        )
    except ImportError:
        raise ImportError(
            f"{text(file.name)} holds TensorBoard's events: pip install tensorboard"
        ) from None
    # 0: all of them, not a sample
    accumulator = EventAccumulator(str(file), size_guidance={SCALARS: 0}).Reload()
    steps: Steps = {}
    for tag in accumulator.Tags()[SCALARS]:
        for event in accumulator.Scalars(tag):
            # W&B's name for the clock's seconds
            clock = {"_timestamp": event.wall_time}
            _add(steps, event.step, {tag: event.value} | clock)
    yield file.parent.name, steps


def _wandb(file: Path) -> Iterator[tuple[str, Steps]]:
    raise ValueError(
        f"{text(str(file))} is W&B's own binary: export the run's charts as CSV from its "
        "page, or `wandb sync` it first"
    )


FORMATS = (
    Format(("trainer_state.json", "checkpoint-*/trainer_state.json"), _trainer_state),
    Format(("*.jsonl",), _verl_file),
    Format(("events.out.tfevents.*", "runs/*/events.out.tfevents.*"), _events),
    Format(("*.csv",), _csv),
    Format(("*.db",), _trackio),
    Format(("*.log", "*.out", "*.txt"), _console),
    Format(("*.wandb", "wandb/*/*.wandb"), _wandb),
)
"""In the order in which a folder's files are tried."""
