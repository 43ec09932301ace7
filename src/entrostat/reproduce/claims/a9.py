"""a4 and a7 for PPO: a critic and GAE in place of the group's mean (arXiv 2509.26114)."""

from typing import Any

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import a7
from entrostat.reproduce.judge import SHARE, above, below, conclude, differences, spread, within
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    SMALL_BATCH,
    STATIC,
    blind,
    gain,
    late_entropy,
    mean_score,
    over_seeds,
    pass_score,
    start_entropy,
    true,
)

PPO: dict[str, Any] = {"advantage": "gae"}
STILL = 0.1
"""Share of the base model's entropy that a run without clipping may drift by."""


def random_runs(mode: Mode) -> dict[str, list[Job]]:
    """a4's settings."""
    seeds = mode.repeats(5)
    return {name: [blind(mode, seed, method, **PPO) for seed in seeds] for name, method in STATIC.items()}


def true_runs(mode: Mode) -> dict[str, list[Job]]:
    """a7's settings."""
    seeds = mode.repeats(5)
    options = {**PPO, "eval_at": ()}
    return {name: [true(mode, seed, method, **options) for seed in seeds] for name, method in a7.METHODS.items()}


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Both."""
    return [job for found in (random_runs(mode), true_runs(mode)) for runs in found.values() for job in runs]


def judge(mode: Mode, records: Records) -> Result:
    """The parts of a4 and of a7."""
    found = random_runs(mode)
    change = {name: over_seeds(records, runs, gain) for name, runs in found.items()}
    start = over_seeds(records, found["none"], start_entropy)
    drift = [c / h for c, h in zip(change["none"], start, strict=True)]
    end = {name: over_seeds(records, runs, late_entropy) for name, runs in true_runs(mode).items()}
    parts = [
        above("random: clip-low alone - no clipping, nats", differences(change["low only"], change["none"])),
        below("random: clip-high alone - no clipping, nats", differences(change["high only"], change["none"])),
        below("random: .2/.2, end - start, nats", change["both"]),
        within("random: no clipping, (end - start) / start", drift, STILL),
        above("true: entropy at .2/inf - .2/.2, nats", differences(end["high inf"], end[".2/.2"])),
        below("true: entropy at 1/.2 - .2/.2, nats", differences(end["low 1"], end[".2/.2"])),
    ]
    numbers = {f"true, {name}: entropy at the end": spread(values)._asdict() for name, values in end.items()}
    for name, runs in true_runs(mode).items():
        numbers[f"true, {name}: mean@n"] = spread(over_seeds(records, runs, mean_score()), limits=SHARE)._asdict()
        numbers[f"true, {name}: pass@n"] = spread(over_seeds(records, runs, pass_score()), limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a9",
    statement="PPO with a critic and GAE: the directions of a4 and a7",
    source="arXiv 2509.26114, whose theory speaks of PPO and GRPO alike; the set-up with a critic is ours",
    criterion="the criteria of a4 and a7, 5 seeds, with --advantage gae",
    measure="nats that clip-low alone adds under a random reward",
    use=(
        "Use what a4 and a7 say for PPO too; do not expect a critic to change what the clip does as long as it "
        "explains little of the reward (under .1 of its variance here)"
    ),
    scale=SMALL_BATCH,
    jobs=jobs,
    judge=judge,
)
