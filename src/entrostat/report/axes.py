"""What curves can stand over: steps, tokens seen, or time, where a run's log has them.

A log says tokens and time in one of two ways. Some have the sum so far; others have what
each step took, and those are summed here from the log's first line.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal, NamedTuple, get_args

from entrostat.report.figure import short
from entrostat.report.look import Group, groups
from entrostat.report.read import Run
from entrostat.report.untrusted import number

AxisName = Literal["steps", "tokens", "time"]
Places = dict[int, float]
"""x by step."""
LONGEST_IN_MINUTES = 180.0
"""Minutes; where a run took longer, time is in hours."""


class Axis(NamedTuple):
    """One choice of x."""

    name: AxisName
    title: str
    """Of the x axis."""
    missing: tuple[str, ...]
    """Names of the runs whose log does not have it: they are not drawn over it."""
    of_all: bool
    """Whether it is missing of all runs."""


def axes(runs: Sequence[Run], steps: str) -> list[Axis]:
    """All choices, those that no run has too.

    Args:
        steps: what a step of the runs is called.
    """
    unit = "hours" if _in_hours(runs) else "minutes"
    titles = {"steps": steps, "tokens": "tokens seen", "time": f"time, {unit}"}
    choices = []
    for name in get_args(AxisName):
        missing = not_drawn(runs, name)
        of_all = name != "steps" and len(missing) == sum(map(_is_drawn, runs))
        choices.append(Axis(name, titles[name], missing, of_all))
    return choices


def not_drawn(runs: Sequence[Run], name: AxisName) -> tuple[str, ...]:
    """Names of the runs that have rows and whose log does not have the axis."""
    return tuple(run.name for run in runs if run.rows and not _places(run, name))


def _is_drawn(run: Run) -> bool:
    return bool(run.rows)


def check_axis(runs: Sequence[Run], name: AxisName) -> None:
    """Raises ValueError where no run can be drawn over it."""
    if name != "steps" and not any(_places(run, name) for run in runs):
        raise ValueError(
            f"--x {name}: no log of these runs has {_WHAT[name]}: leave --x out"
        )


_WHAT = {
    "tokens": "a number of tokens (num_tokens, perf/total_num_tokens)",
    "time": "a time (timing.jsonl, step_time, perf/time_per_step, _runtime)",
}


def places(runs: Sequence[Run]) -> dict[str, Any]:
    """x of each line's steps, JSON-able: by the line's key, the list "steps" and beside
    it, where a log has them, "tokens" and "time".

    A line has the key of its run (`run_keys`), or that of its label where it is a mean.
    """
    divisor = 3600.0 if _in_hours(runs) else 60.0
    of_lines: dict[str, Any] = {}
    for group in groups(runs):
        keys = run_keys(group)
        tokens = [run_tokens(run) for run in group.runs]
        seconds = [run_seconds(run) for run in group.runs]
        for run, in_tokens, in_seconds in zip(group.runs, tokens, seconds, strict=True):
            line = _line(run.rows, in_tokens, in_seconds, divisor)
            of_lines[keys[run.name]] = line
        steps = sorted({step for run in group.runs for step in run.rows})
        of_lines[group.key] = _line(steps, _mean(tokens), _mean(seconds), divisor)
    return of_lines


def run_keys(group: Group) -> dict[str, str]:
    """The keys of the lines of a label's runs, by the runs' names."""
    return {run.name: f"{group.key}-{i}" for i, run in enumerate(group.runs)}


def run_tokens(run: Run) -> Places:
    """Tokens seen up to each step, as the run's trainer counts them; empty where its log
    does not say."""
    known = run.known("tokens") or _summed(run.known("tokens_of_step"))
    return known or _summed(_sampled(run))


def run_seconds(run: Run) -> Places:
    """Seconds since the run began, at each step; empty where its log does not say."""
    clock = run.known("clock")
    since = {step: at - min(clock.values()) for step, at in clock.items()}
    known = run.known("seconds") or since or _summed(run.known("seconds_of_step"))
    return known or _summed(run.seconds)


def _places(run: Run, name: AxisName) -> Mapping[int, float]:
    if name == "steps":
        return {step: float(step) for step in run.rows}
    return run_tokens(run) if name == "tokens" else run_seconds(run)


def _sampled(run: Run) -> Places:
    """Tokens of completions that each rollout of an entrostat run sampled: their mean
    length times their number."""
    prompts = number(run.config.get("prompts"))
    samples = number(run.config.get("samples"))
    if prompts is None or samples is None:
        return {}
    lengths = run.known("completion_length")
    return {step: length * prompts * samples for step, length in lengths.items()}


def _summed(of_step: Mapping[int, float]) -> Places:
    """The sum so far, of a number that each step took.

    A log of every tenth step has the mean of ten, so a line counts for all steps since
    the line before. The first one counts for as many as the second.
    """
    if not of_step:
        return {}
    steps = list(of_step)
    gaps = [after - before for before, after in pairwise(steps)]
    total = 0.0
    sums = {}
    for step, gap in zip(steps, (gaps[:1] or [1]) + gaps, strict=True):
        total += gap * of_step[step]
        # numbers of a log may be so large that their sum is none
        if number(total) is not None:
            sums[step] = total
    return sums


def _in_hours(runs: Sequence[Run]) -> bool:
    longest = max(max(run_seconds(run).values(), default=0.0) for run in runs)
    return longest > LONGEST_IN_MINUTES * 60


def _mean(of_runs: Iterable[Places]) -> Places:
    """The mean over the runs that have a step, by step."""
    values: dict[int, list[float]] = {}
    for at in of_runs:
        for step, x in at.items():
            values.setdefault(step, []).append(x)
    return {step: fmean(xs) for step, xs in values.items()}


def _line(
    steps: Iterable[int], tokens: Places, seconds: Places, divisor: float
) -> dict[str, Any]:
    """What `places` has of one line."""
    steps = list(steps)
    line: dict[str, Any] = {"steps": steps}
    if tokens:
        line["tokens"] = short([tokens.get(step) for step in steps])
    if seconds:
        minutes = {step: at / divisor for step, at in seconds.items()}
        line["time"] = short([minutes.get(step) for step in steps])
    return line
