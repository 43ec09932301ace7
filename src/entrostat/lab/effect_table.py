"""A measurement of paired branches for a terminal, and as JSON."""

import math
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from entrostat.estimate import Interval
from entrostat.lab.effect import Measured
from entrostat.lab.point import Point

NOTE = (
    "± is the 95% interval over rollouts. ln H a rollout: of the base its change, of "
    "the others what they differ by. The odd part, (low - high) / 2, is what theorem 1 "
    "of 2509.26114 speaks of; the even part, (low + high) / 2, is second order. KL is "
    "a token's, from the policy before the rollout."
)


def as_json(measured: Measured) -> dict[str, Any]:
    """The fields of `Measured` as JSON, "effects" a dict each. An end of an interval
    that is not known is None."""
    effects = []
    for effect in measured.effects:
        record: dict[str, Any] = {"name": effect.name}
        for key in ("log_entropy", "by_seed", "reward"):
            record[key] = _interval(getattr(effect, key))
        effects.append(record)
    drift = _interval(measured.drift)
    return {**measured._asdict(), "drift": drift, "effects": effects}


def tables(measured: Measured, point: Point) -> Group:
    """What the base, every arm and every pair's odd and even part do, and how far the
    updates go. Narrow enough for 80 columns."""
    seeds = "seed" if measured.seeds == 1 else "seeds"
    head = (
        f"{point.task}, {point.reward}, {point.completions} responses, "
        f"{point.updates_per_rollout} updates at {point.learning_rate:g}, "
        f"staleness {point.staleness}: {measured.rollouts} rollouts, "
        f"{measured.seeds} {seeds}"
    )
    return Group(head, _effects_table(measured), _updates_table(measured), NOTE)


def _effects_table(measured: Measured) -> Table:
    table = _table("Effect of a rollout", "ln H a rollout", "true reward")
    base = next(iter(measured.means))
    table.add_row(Text(f"{base} (base): drift"), _shown(measured.drift), "")
    for effect in measured.effects:
        name = Text(effect.name)
        table.add_row(name, _shown(effect.log_entropy), _shown(effect.reward))
    return table


def _updates_table(measured: Measured) -> Table:
    columns = "KL", "rms ln r", "clipped low", "clipped high"
    table = _table("How far the updates go", *columns)
    for name, means in measured.means.items():
        table.add_row(
            Text(name),
            f"{means['kl']:.1e}",
            f"{means['rms']:.3f}",
            f"{means['clip_low']:.2%}",
            f"{means['clip_high']:.2%}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    """A first column of names, and columns of numbers."""
    table = Table("", title=title)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _shown(interval: Interval) -> str:
    """The value and the half-width of its interval, to the half-width's second
    digit."""
    half_width = (interval.high - interval.low) / 2
    # all values are equal, or there is only one
    if not half_width > 0:
        return f"{interval.value:+.2g}" if interval.value else "0"
    digits = max(1 - math.floor(math.log10(half_width)), 0)
    return f"{interval.value:+.{digits}f} ± {half_width:.{digits}f}"


def _interval(interval: Interval) -> dict[str, float | None]:
    numbers: dict[str, float | None] = interval._asdict()
    for key, number in interval._asdict().items():
        if math.isnan(number):
            numbers[key] = None
    return numbers
