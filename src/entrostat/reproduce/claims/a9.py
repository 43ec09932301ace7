"""PPO: a critic and GAE in place of the group's mean (arXiv 2509.26114).

It is measured by whole runs on TRL's engine, the only one with a critic: four settings
of the clip under a random reward, three under the true one.
"""

import math

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import (
    SHARE,
    above,
    below,
    conclude,
    differences,
    spreads,
    within,
)
from entrostat.reproduce.runs import Job, Record, Records
from entrostat.reproduce.setups import (
    all_jobs,
    arms,
    blind,
    by_arm,
    gain,
    late_entropy,
    mean_score,
    over_seeds,
    pass_score,
    start_entropy,
    true,
)

BOTH, LOW_ALONE, HIGH_ALONE, NONE = "0.2/0.2", "0.2/inf", "1/0.2", "no clipping"
RANDOM_METHODS = {
    LOW_ALONE: make_method("grpo", low=0.2, high=math.inf),
    HIGH_ALONE: make_method("grpo", low=1.0, high=0.2),
    BOTH: make_method("grpo"),
    NONE: make_method("grpo", low=1.0, high=math.inf),
}
TRUE_METHODS = {
    BOTH: make_method("grpo"),
    LOW_ALONE: make_method("grpo", high=math.inf),
    HIGH_ALONE: make_method("grpo", low=1.0),
}
STILL = 0.1
"""Share of the base model's entropy that a run without clipping may drift by."""
SCALE = (
    "rollouts of 256 responses and a learning rate of 1e-4 where the paper has 4,096 and "
    "5e-7; without any clip entropy drifts by as much as a clip moves it, and only TRL's "
    "engine has a critic, so the regime of a4 costs hours"
)
"""What the lab lacks of the paper's set-up."""


def random_runs(mode: Mode) -> dict[str, list[Job]]:
    """Under a random reward, five seeds."""
    return arms(blind, mode, mode.repeats(5), RANDOM_METHODS, advantage="gae")


def true_runs(mode: Mode) -> dict[str, list[Job]]:
    """Under the true reward, five seeds, scored at the end alone."""
    seeds = mode.repeats(5)
    return arms(true, mode, seeds, TRUE_METHODS, advantage="gae", eval_at=())


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs under both rewards."""
    return all_jobs(random_runs(mode)) + all_jobs(true_runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """Changes of entropy under a random reward, then entropy at the end under the true
    one.
    """
    under_random = random_runs(mode)
    change = by_arm(records, under_random, gain)
    drift = over_seeds(records, under_random[NONE], _relative_gain)
    low_alone = differences(change[LOW_ALONE], change[NONE])
    high_alone = differences(change[HIGH_ALONE], change[NONE])
    under_true = true_runs(mode)
    end = by_arm(records, under_true, late_entropy)
    without_high = differences(end[LOW_ALONE], end[BOTH])
    without_low = differences(end[HIGH_ALONE], end[BOTH])
    parts = [
        above("random reward: entropy, 0.2/inf - no clipping, nats", low_alone),
        below("random reward: entropy, 1/0.2 - no clipping, nats", high_alone),
        below("random reward: entropy at 0.2/0.2, end - start, nats", change[BOTH]),
        within("random reward: no clipping, (end - start) / start", drift, STILL),
        above("true reward: entropy, 0.2/inf - 0.2/0.2, nats", without_high),
        below("true reward: entropy, 1/0.2 - 0.2/0.2, nats", without_low),
    ]
    mean = by_arm(records, under_true, mean_score)
    passed = by_arm(records, under_true, pass_score)
    numbers = spreads("true reward, entropy at the end", end)
    numbers |= spreads("true reward, mean@n", mean, limits=SHARE)
    numbers |= spreads("true reward, pass@n", passed, limits=SHARE)
    return conclude(parts, numbers)


def _relative_gain(record: Record) -> float:
    return gain(record) / start_entropy(record)


CLAIM = Claim(
    name="a9",
    statement="PPO with a critic and GAE: entropy moves in the directions of a4 and a7",
    source=(
        "arXiv 2509.26114, whose theory speaks of PPO and GRPO alike; the set-up with a "
        "critic is ours"
    ),
    criterion=(
        "Whole runs with --advantage gae, 5 seeds, 256 responses per rollout, 1e-4, 95% "
        "intervals over seeds. Under bernoulli:0.5, 60 rollouts: entropy at 0.2/inf ends "
        "over that without clipping, entropy at 1/0.2 ends under it, entropy at 0.2/0.2 "
        f"ends under its start, and without clipping it ends within {STILL:.0%} of its "
        "start. Under the true reward, 100 rollouts: entropy at 0.2/inf ends over that at "
        "0.2/0.2, entropy at 1/0.2 under it"
    ),
    measure="nats that clip-low alone adds under a random reward",
    use=(
        "Use what a4 and a7 say for PPO too; do not expect a critic to change what the "
        "clip does as long as it explains little of the reward (under 0.1 of its variance "
        "here)"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
