"""A measurement of paired branches for a terminal, and as JSON."""

import math
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from entrostat.estimate import Interval
from entrostat.lab.effect import Measured
from entrostat.lab.paired import Point

NOTE = (
    "± is the 95% interval over rollouts. ln H a rollout: of the base its change, of the others what they differ by. "
    "The odd part, (low - high) / 2, is what theorem 1 of 2509.26114 speaks of; the even part, (low + high) / 2, "
    "is second order. KL is a token's, from the policy before the rollout."
)


def as_json(measured: Measured) -> dict[str, Any]:
    """JSON-able: "rollouts", "seeds", "drift", "effects" (a dict each), "means"; ends that are not known are None."""
    effects = [
        {
            "name": effect.name,
            "log_entropy": _interval(effect.log_entropy),
            "by_seed": _interval(effect.by_seed),
            "reward": _interval(effect.reward),
        }
        for effect in measured.effects
    ]
    return measured._asdict() | {"drift": _interval(measured.drift), "effects": effects}


def tables(measured: Measured, point: Point) -> Group:
    """What the base, every arm and every pair's odd and even part do, and where: narrow enough for 80 columns."""
    base, *_ = measured.means
    effects = Table("", "ln H a rollout", "true reward", title="Effect of a rollout")
    where = Table(
        "",
        "KL",
        "rms ln r",
        "clipped low",
        "clipped high",
        title="How far the updates go",
    )
    for column in (*effects.columns[1:], *where.columns[1:]):
        column.justify, column.no_wrap = "right", True
    effects.add_row(Text(f"{base} (base): drift"), _shown(measured.drift), "")
    for effect in measured.effects:
        effects.add_row(
            Text(effect.name), _shown(effect.log_entropy), _shown(effect.reward)
        )
    for name, means in measured.means.items():
        shares = [f"{means[side]:.2%}" for side in ("clip_low", "clip_high")]
        where.add_row(Text(name), f"{means['kl']:.1e}", f"{means['rms']:.3f}", *shares)
    made = (
        f"{point.task}, {point.reward}, {point.prompts * point.samples} responses, {point.updates_per_rollout} updates "
        f"at {point.learning_rate:g}, staleness {point.staleness}: {measured.rollouts} rollouts, {measured.seeds} "
        f"{'seed' if measured.seeds == 1 else 'seeds'}"
    )
    return Group(made, effects, where, NOTE)


def _shown(interval: Interval) -> str:
    """The value and the half-width of its interval, to the half-width's second digit."""
    half = (interval.high - interval.low) / 2
    if not half > 0:  # all values are equal, or there is one
        return f"{interval.value:+.2g}" if interval.value else "0"
    digits = max(1 - math.floor(math.log10(half)), 0)
    return f"{interval.value:+.{digits}f} ± {half:.{digits}f}"


def _interval(interval: Interval) -> dict[str, float | None]:
    return {
        name: None if math.isnan(value) else value
        for name, value in interval._asdict().items()
    }
