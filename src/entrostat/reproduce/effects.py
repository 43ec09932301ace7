"""Claims on what a clip does in one rollout: measured by paired branches, in a regime that a rule takes from the map.

The rule was fixed before any claim was measured so: at the largest batch of the map that two cores measure in minutes
(1,024 responses, 16 updates) the largest learning rate at which the odd part is at least three times the even one, and
there the threshold of the largest odd part. docs/results/regime.json gives 2.5e-5 and .0125. So few steps clip next to
nothing at the papers' .2; docs/regime.md says what follows from that.

Claims on windows as wide as .2 take the same batch and step where the rollouts are four behind, as asynchronous
training has it. Of the map's cells at 2.5e-5 that is the one where .2 takes most tokens, and there too the odd part is
over three times the even one.
"""

import dataclasses
import hashlib
import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from entrostat.lab.effect import as_row, pair_of
from entrostat.lab.methods import Method, as_arguments, make_method
from entrostat.lab.paired import Point, Row
from entrostat.registry import flags
from entrostat.reproduce.claim import Mode

EPS = 0.0125
FIRST_SEED = 1000
"""The map's seeds begin at 0: what chose the regime judges nothing."""
NONE = make_method("grpo", low=1.0, high=math.inf)
BOTH = make_method("grpo", low=EPS, high=EPS)


@dataclasses.dataclass(frozen=True)
class EffectJob:
    """A measurement of paired branches over several seeds: one command of `entrostat effect`."""

    point: Point
    methods: tuple[Method, ...]
    """The base first."""
    seeds: int
    first_seed: int = FIRST_SEED

    @property
    def rollouts(self) -> int:
        """Measured ones; those of the warm-ups come on top."""
        return self.seeds * self.point.length

    @property
    def command(self) -> str:
        """The command that makes the same measurement."""
        methods = [shlex.join(as_arguments(method)) for method in self.methods]
        run = ["--rollouts", str(self.rollouts), "--seed", str(self.first_seed)]
        return shlex.join(["entrostat", "effect", *flags(self.point), *run, *methods])

    @property
    def folder(self) -> str:
        """A name for its folder."""
        return f"effect-{hashlib.sha256(self.command.encode()).hexdigest()[:12]}"


def regime(mode: Mode, **options: Any) -> Point:
    """The rule's regime; a batch of 64 and a step for it, to see that the check works, when fast."""
    usual: dict[str, Any] = dict(length=8, warmup=3, learning_rate=2.5e-5)
    small: dict[str, Any] = dict(
        prompts=4, updates_per_rollout=4, length=2, warmup=1, held_out=16
    )
    large: dict[str, Any] = dict(prompts=64, updates_per_rollout=16)
    return Point(**{**usual, **(small if mode.fast else large), **options})


def wide(mode: Mode, **options: Any) -> Point:
    """The regime for windows as wide as .2, under the true reward: stale rollouts."""
    stale: dict[str, Any] = (
        dict(staleness=1, warmup=1) if mode.fast else dict(staleness=4, warmup=4)
    )
    return regime(
        mode, **{**stale, "reward": "true", "scale_rewards": "group", **options}
    )


def stretch(
    rows: Sequence[dict[str, Any]], length: int, start: float, end: float
) -> list[dict[str, Any]]:
    """The rows whose progress, rollout / length, is in [start, end)."""
    return [row for row in rows if start <= row["rollout"] / length < end]


def one_sided(eps: float) -> tuple[Method, ...]:
    """low and high of one size, each alone."""
    return tuple(pair_of(eps))


def effect(rows: Sequence[dict[str, Any]], arm: int) -> list[float]:
    """What an arm adds to ln H a rollout, against the base: its mean of each seed, from a record's rows."""
    return _by_seed(
        rows, lambda row: row.branches[arm].log_entropy - row.branches[0].log_entropy
    )


def change(rows: Sequence[dict[str, Any]], arm: int) -> list[float]:
    """Change of ln H a rollout under an arm, from where the rollout began: its mean of each seed."""
    return _by_seed(rows, lambda row: row.branches[arm].log_entropy - row.before)


def level(rows: Sequence[dict[str, Any]], arm: int, field: str) -> list[float]:
    """One of a branch's numbers (kl, rms, clip_low, clip_high): its mean of each seed."""
    return _by_seed(rows, lambda row: getattr(row.branches[arm], field))


def _by_seed(
    rows: Sequence[dict[str, Any]], read: Callable[[Row], float]
) -> list[float]:
    found: dict[int, list[float]] = {}
    for record in rows:
        row = as_row(record)
        found.setdefault(row.seed, []).append(read(row))
    return [math.fsum(values) / len(values) for values in found.values()]


def halves(
    low: Sequence[float], high: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Odd and even part of a pair, a value a seed."""
    odd = [(a - b) / 2 for a, b in zip(low, high, strict=True)]
    even = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    return odd, even
