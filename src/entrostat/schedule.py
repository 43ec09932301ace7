"""Reference trajectories: a scalar over the progress of a run, 0 at its start and 1 at its
end.

Each is a frozen dataclass and a pure function of progress (rollouts done / rollouts in
all), so nothing is stored and a resumed run reads the same values. A sine, whose period
is in rollouts, reads their number too. Any finite scalar will do; what it stands for
checks its own range.
"""

import math
import numbers
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

FORMS = (
    "a number, linear:A:B, cosine:A:B, step:A:B:AT, sine:MEAN:AMPLITUDE:PERIOD_IN_ROLLOUTS or "
    "piecewise:PROGRESS:VALUE:PROGRESS:VALUE..."
)


@runtime_checkable
class Schedule(Protocol):
    """A scalar over progress."""

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        """The value at progress in [0, 1], with `rollouts` done. Raises ValueError
        outside."""
        ...

    @property
    def span(self) -> tuple[float, float]:
        """The least and the largest value it takes."""
        ...


@dataclass(frozen=True)
class Constant:
    """One value throughout."""

    value: float

    def __post_init__(self):
        _finite("value", self.value)

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        _in_run(progress)
        return self.value

    @property
    def span(self) -> tuple[float, float]:
        return self.value, self.value


@dataclass(frozen=True)
class Linear:
    """Straight from start, at progress 0, to end, at progress 1."""

    start: float
    end: float

    def __post_init__(self):
        _finite("start", self.start)
        _finite("end", self.end)

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        return _between(self.start, self.end, _in_run(progress))

    @property
    def span(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from start to end: flat at both, steepest at progress 0.5
    (arXiv 1608.03983, one period)."""

    start: float
    end: float

    def __post_init__(self):
        _finite("start", self.start)
        _finite("end", self.end)

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        share = (1 - math.cos(math.pi * _in_run(progress))) / 2
        return _between(self.start, self.end, share)

    @property
    def span(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)


@dataclass(frozen=True)
class Piecewise:
    """Linear between knots, constant before the first and after the last. Two knots at
    one progress make a jump.

    >>> warm_up_then_hold = Piecewise(((0.0, 0.3), (0.2, 0.5)))
    >>> [warm_up_then_hold(p) for p in (0.0, 0.1, 0.9)]
    [0.3, 0.4, 0.5]
    """

    knots: tuple[tuple[float, float], ...]
    """(progress, value), progress not decreasing. At a jump the later knot's value
    holds."""

    def __post_init__(self):
        if not self.knots:
            raise ValueError("knots must hold at least one (progress, value), got none")
        for progress, value in self.knots:
            _in_run(progress)
            _finite("value of a knot", value)
        places = [progress for progress, _ in self.knots]
        if places != sorted(places):
            raise ValueError(
                f"knots must be in order of progress, got {places}; sort them"
            )

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        _in_run(progress)
        passed = 0
        for knot_progress, _ in self.knots:
            if knot_progress <= progress:
                passed += 1
        if passed == 0:
            return self.knots[0][1]
        if passed == len(self.knots):
            return self.knots[-1][1]
        start, start_value = self.knots[passed - 1]
        end, end_value = self.knots[passed]
        share = (progress - start) / (end - start)
        return _between(start_value, end_value, share)

    @property
    def span(self) -> tuple[float, float]:
        values = [value for _, value in self.knots]
        return min(values), max(values)


@dataclass(frozen=True)
class Sine:
    """mean + amplitude sin(2 pi rollouts / period): a wave that starts upwards from its mean."""

    mean: float
    amplitude: float
    period: float
    """Rollouts."""

    def __post_init__(self):
        _finite("mean", self.mean)
        _finite("amplitude", self.amplitude)
        _finite("period", self.period)
        if self.period < 2:
            raise ValueError(f"period must be at least 2 rollouts, got {self.period}")

    def __call__(self, progress: float, rollouts: int = 0) -> float:
        _in_run(progress)
        phase = 2 * math.pi * rollouts / self.period
        return self.mean + self.amplitude * math.sin(phase)

    @property
    def span(self) -> tuple[float, float]:
        return self.mean - abs(self.amplitude), self.mean + abs(self.amplitude)


def step(start: float, end: float, at: float) -> Piecewise:
    """start before progress `at`, end from there on. Raises ValueError unless 0 < at < 1."""
    if not 0 < at < 1:
        raise ValueError(
            f"a step must be at a progress between 0 and 1, got {at}; use a constant for "
            "no step"
        )
    return Piecewise(((at, start), (at, end)))


def parse_schedule(text: str | float | int, *, given: str | None = None) -> Schedule:
    """A schedule from a number or from the command line's text: one of FORMS.

    Args:
        given: what an error quotes, where `text` is only a part of what was typed.

    Raises:
        ValueError: another form, with the known ones, or a value that its schedule refuses.

    >>> parse_schedule("step:0.3:0.45:0.5")(0.5)
    0.45
    """
    if isinstance(text, bool) or not isinstance(text, str | numbers.Real):
        raise ValueError(f"a schedule is {FORMS}, got {text!r}")
    if not isinstance(text, str):
        return Constant(float(text))
    given = given or text
    name, *words = text.split(":")
    if not words:
        return Constant(_numbers(given, [name])[0])
    values = _numbers(given, words)
    match name, values:
        case "linear", [start, end]:
            return Linear(start, end)
        case "cosine", [start, end]:
            return Cosine(start, end)
        case "step", [start, end, at]:
            return step(start, end, at)
        case "sine", [mean, amplitude, period]:
            return Sine(mean, amplitude, period)
        case "piecewise", [_, _, *_] if len(values) % 2 == 0:
            return Piecewise(tuple(zip(values[::2], values[1::2], strict=True)))
    raise ValueError(f"a schedule is {FORMS}, got {given!r}")


def _numbers(given: str, words: list[str]) -> list[float]:
    """The numbers of the schedule `given`. ValueError where a word is none."""
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ValueError(f"a schedule is {FORMS}, got {given!r}") from None


def _between(start: float, end: float, share: float) -> float:
    """Exactly start at share 0 and exactly end at share 1."""
    return end if share == 1 else start + (end - start) * share


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def _in_run(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ValueError(
            f"progress must be in [0, 1], got {progress}; it is rollouts done / rollouts "
            "in all"
        )
    return progress
