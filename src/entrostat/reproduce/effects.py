"""Claims on what a clip does in one rollout, by paired branches.

They are measured where a rule puts them. The rule was fixed before any claim was
measured so. Take the largest batch of the map that two cores measure in minutes (1,024
responses, 16 updates). There take the largest learning rate at which the odd part is at
least three times the even one, and at that rate the threshold of the largest odd part.
docs/results/regime.json gives 2.5e-5 and 0.0125. At steps so small the papers' 0.2
clips next to nothing; docs/regime.md says what follows from that.

Claims on windows as wide as 0.2 take the same batch and step where the rollouts are
four behind, as asynchronous training has it. Of the map's cells at 2.5e-5 that is the
one where 0.2 takes most tokens, and there too the odd part is over three times the even
one.
"""

import dataclasses
import hashlib
import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entrostat.lab.effect import pair_of
from entrostat.lab.methods import Method, as_arguments, make_method
from entrostat.lab.paired import PairedRollout
from entrostat.lab.point import Point
from entrostat.registry import flags
from entrostat.reproduce.claim import Mode, Spread
from entrostat.reproduce.judge import SHARE, spread

EPS = 0.0125
"""The rule's threshold."""
FIRST_SEED = 1000
"""The map's seeds begin at 0: the seeds that chose the regime judge nothing."""
NONE = make_method("grpo", low=1.0, high=math.inf)
"""No clipping."""
BOTH = make_method("grpo", low=EPS, high=EPS)
"""Both sides at the rule's threshold."""

Rows = Sequence[dict[str, Any]]
"""The rows of a measurement's record, one per measured rollout: `PairedRollout`."""


@dataclasses.dataclass(frozen=True)
class EffectJob:
    """A measurement of paired branches over several seeds.

    It is one command of `entrostat effect`.
    """

    point: Point
    methods: tuple[Method, ...]
    """The base first, then the arms: an arm's number is its place here."""
    seeds: int
    first_seed: int = FIRST_SEED

    @property
    def rollouts(self) -> int:
        """Measured rollouts. Those of the warm-ups come on top."""
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
        return f"effect-{digest(self.command)}"


def digest(command: str) -> str:
    """What tells one command's folder from another's."""
    return hashlib.sha256(command.encode()).hexdigest()[:12]


def regime(mode: Mode, **options: Any) -> Point:
    """The rule's regime, with options of its own.

    When fast it is a batch of 64 and short walks, to see that the check works.
    """
    setup: dict[str, Any] = {
        "prompts": 64,
        "updates_per_rollout": 16,
        "learning_rate": 2.5e-5,
        "length": 8,
        "warmup": 3,
    }
    if mode.fast:
        setup |= {"prompts": 4, "updates_per_rollout": 4, "length": 2, "warmup": 1}
        setup["held_out"] = 16
    return Point(**(setup | options))


def wide(mode: Mode, **options: Any) -> Point:
    """The regime for windows as wide as 0.2: stale rollouts under the true reward."""
    behind = 1 if mode.fast else 4
    setup: dict[str, Any] = {
        "staleness": behind,
        "warmup": behind,
        "reward": "true",
        "scale_rewards": "group",
    }
    return regime(mode, **(setup | options))


def one_sided(eps: float) -> tuple[Method, Method]:
    """low and high of one size, each alone."""
    low, high = pair_of(eps)
    return low, high


def stretch(rows: Rows, length: int, start: float, end: float) -> Rows:
    """The rows whose progress, rollout / length, is in [start, end)."""
    return [row for row in rows if start <= row["rollout"] / length < end]


def effect(rows: Rows, arm: int) -> list[float]:
    """What an arm adds to ln H per rollout, against the base: one mean per seed."""
    return _mean_by_seed(
        rows, lambda row: row.branches[arm].log_entropy - row.branches[0].log_entropy
    )


def change(rows: Rows, arm: int) -> list[float]:
    """Change of ln H per rollout under an arm, from where the rollout began.

    One mean per seed.
    """
    return _mean_by_seed(rows, lambda row: row.branches[arm].log_entropy - row.before)


def level(rows: Rows, arm: int, field: str) -> list[float]:
    """One of a branch's numbers (kl, rms, clip_low, clip_high): one mean per seed."""
    return _mean_by_seed(rows, lambda row: getattr(row.branches[arm], field))


def clip_shares(rows: Rows, arm: int, named: str) -> dict[str, Spread]:
    """The share of the trained tokens that each side took under an arm, for the page."""
    by_low, by_high = level(rows, arm, "clip_low"), level(rows, arm, "clip_high")
    return {
        f"{named}: clip_low": spread(by_low, limits=SHARE),
        f"{named}: clip_high": spread(by_high, limits=SHARE),
    }


def _mean_by_seed(rows: Rows, number: Callable[[PairedRollout], float]) -> list[float]:
    """The mean over each seed's rollouts, in the order in which the seeds come."""
    by_seed: dict[int, list[float]] = {}
    for record in rows:
        row = PairedRollout.from_json(record)
        by_seed.setdefault(row.seed, []).append(number(row))
    return [math.fsum(values) / len(values) for values in by_seed.values()]


def halves(
    low: Sequence[float], high: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Odd part (low - high) / 2 and even part (low + high) / 2, one per seed."""
    by_low, by_high = np.array(low), np.array(high)
    odd, even = (by_low - by_high) / 2, (by_low + by_high) / 2
    return odd.tolist(), even.tolist()
