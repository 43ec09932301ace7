"""Whole runs of PPO: a critic and GAE in place of the group's mean (arXiv 2509.26114)."""

from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import (
    SHARE,
    above,
    below,
    conclude,
    differences,
    spread,
    within,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    INF,
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
METHODS = {
    ".2/.2": make_method("grpo"),
    "high inf": make_method("grpo", high=INF),
    "low 1": make_method("grpo", low=1.0),
}
STILL = 0.1
"""Share of the base model's entropy that a run without clipping may drift by."""
SCALE = (
    "rollouts of 256 responses and a learning rate of 1e-4 where the paper has 4,096 and 5e-7; without any clip "
    "entropy drifts by as much as a clip moves it, and only TRL's engine has a critic, so the regime of a4 costs hours"
)
"""What of the paper's set-up the lab lacks."""


def random_runs(mode: Mode) -> dict[str, list[Job]]:
    """Four settings of the clip."""
    seeds = mode.repeats(5)
    return {
        name: [blind(mode, seed, method, **PPO) for seed in seeds]
        for name, method in STATIC.items()
    }


def true_runs(mode: Mode) -> dict[str, list[Job]]:
    """Three settings of the clip."""
    seeds = mode.repeats(5)
    options = {**PPO, "eval_at": ()}
    return {
        name: [true(mode, seed, method, **options) for seed in seeds]
        for name, method in METHODS.items()
    }


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Both."""
    return [
        job
        for found in (random_runs(mode), true_runs(mode))
        for runs in found.values()
        for job in runs
    ]


def judge(mode: Mode, records: Records) -> Result:
    """Random rewards, then the true one."""
    found = random_runs(mode)
    change = {name: over_seeds(records, runs, gain) for name, runs in found.items()}
    start = over_seeds(records, found["none"], start_entropy)
    drift = [c / h for c, h in zip(change["none"], start, strict=True)]
    end = {
        name: over_seeds(records, runs, late_entropy)
        for name, runs in true_runs(mode).items()
    }
    parts = [
        above(
            "random: clip-low alone - no clipping, nats",
            differences(change["low only"], change["none"]),
        ),
        below(
            "random: clip-high alone - no clipping, nats",
            differences(change["high only"], change["none"]),
        ),
        below("random: .2/.2, end - start, nats", change["both"]),
        within("random: no clipping, (end - start) / start", drift, STILL),
        above(
            "true: entropy at .2/inf - .2/.2, nats",
            differences(end["high inf"], end[".2/.2"]),
        ),
        below(
            "true: entropy at 1/.2 - .2/.2, nats",
            differences(end["low 1"], end[".2/.2"]),
        ),
    ]
    numbers = {
        f"true, {name}: entropy at the end": spread(values)._asdict()
        for name, values in end.items()
    }
    for name, runs in true_runs(mode).items():
        numbers[f"true, {name}: mean@n"] = spread(
            over_seeds(records, runs, mean_score()), limits=SHARE
        )._asdict()
        numbers[f"true, {name}: pass@n"] = spread(
            over_seeds(records, runs, pass_score()), limits=SHARE
        )._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a9",
    statement="PPO with a critic and GAE: the directions of a4 and a7",
    source="arXiv 2509.26114, whose theory speaks of PPO and GRPO alike; the set-up with a critic is ours",
    criterion=(
        "whole runs with --advantage gae, 5 seeds, 256 responses a rollout, 1e-4: under bernoulli:0.5, 60 rollouts, "
        "low .2 / high inf ends over no clipping, low 1 / high .2 under it, .2/.2 under its start, no clipping within "
        f"{STILL:.0%} of its start; under the true reward, 100 rollouts, high inf ends over .2/.2 and low 1 under it "
        "(95% intervals)"
    ),
    measure="nats that clip-low alone adds under a random reward",
    use=(
        "Use what a4 and a7 say for PPO too; do not expect a critic to change what the clip does as long as it "
        "explains little of the reward (under .1 of its variance here)"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
