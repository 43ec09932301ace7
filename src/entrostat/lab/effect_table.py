"""A measurement of paired branches for a terminal, and as JSON."""

import math
from typing import Any

from rich.table import Table

from entrostat.estimate import Interval
from entrostat.lab.effect import Measured
from entrostat.lab.paired import Point


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


def table(measured: Measured, point: Point) -> Table:
    """Rows: the base's drift, every arm, every pair's odd and even part."""
    responses = point.prompts * point.samples
    out = Table(
        title=f"{point.task}, {point.reward}, {responses} responses, {point.updates_per_rollout} updates at "
        f"{point.learning_rate:g}, staleness {point.staleness}: {measured.rollouts} rollouts, {measured.seeds} seeds",
        caption="Change of ln H a rollout against the base, with its 95% interval over rollouts. KL is a token's, from "
        "the policy before the rollout. The odd part, (low - high) / 2, is what theorem 1 of 2509.26114 speaks of; the "
        "even part is second order.",
    )
    for name in ("", "ln H a rollout", "true reward", "KL", "rms ln r", "clipped low", "clipped high"):
        out.add_column(name, justify="left" if not name else "right")
    base, *_ = measured.means
    out.add_row(f"{base} (base): drift", _shown(measured.drift), "", *_means(measured, base))
    for effect in measured.effects:
        means = _means(measured, effect.name) if effect.name in measured.means else [""] * 4
        out.add_row(effect.name, _shown(effect.log_entropy), _shown(effect.reward), *means)
    return out


def _means(measured: Measured, name: str) -> list[str]:
    means = measured.means[name]
    shares = [f"{means[side]:.2%}" for side in ("clip_low", "clip_high")]
    return [f"{means['kl']:.1e}", f"{means['rms']:.3f}", *shares]


def _shown(interval: Interval) -> str:
    digits = 5 if abs(interval.value) < 0.01 else 4
    return f"{interval.value:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}
