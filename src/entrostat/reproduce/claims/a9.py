"""PPO: a critic and GAE in place of the group's mean (arXiv 2509.26114).

It is measured by whole runs on TRL's engine, the only one with a critic, in the set-up
in which a4 finds the papers' own windows of 0.2 at work. What is judged is the change of
ln H on held-out problems, from the first model to the last. That no clip leaves entropy
alone is a4's part at a smaller step: whole runs of this length have no power for it.
"""

import math
from typing import Any

from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import above, below, conclude, differences, spreads
from entrostat.reproduce.runs import Job, Record, Records
from entrostat.reproduce.setups import Arms, all_jobs, by_arm

SEEDS, FIRST_SEED = 12, 400
RANDOM, TRUE = "bernoulli:0.5", "true"
BOTH, HIGH_OFF, LOW_OFF, NONE = "0.2/0.2", "0.2/inf", "1/0.2", "no clipping"
METHODS = {
    BOTH: make_method("grpo"),
    HIGH_OFF: make_method("grpo", low=0.2, high=math.inf),
    LOW_OFF: make_method("grpo", low=1.0, high=0.2),
    NONE: make_method("grpo", low=1.0, high=math.inf),
}
SCALE = (
    "rollouts of 1,024 responses and a learning rate of 1e-4 where the paper has 4,096 "
    "and 5e-7, and a critic that starts at zero and learns for 10 rollouts"
)
"""What the lab lacks of the paper's set-up."""


def runs(mode: Mode, reward: str) -> Arms:
    """The windows under a reward; only a random one is trained on without a clip."""
    seeds = [FIRST_SEED + seed for seed in mode.repeats(SEEDS)]
    return {
        name: [_job(mode, method, seed, reward) for seed in seeds]
        for name, method in METHODS.items()
        if name != NONE or reward == RANDOM
    }


def _job(mode: Mode, method: Method, seed: int, reward: str) -> Job:
    setup: dict[str, Any] = {"prompts": 64, "updates_per_rollout": 16, "steps": 10}
    scored: dict[str, Any] = {"eval_problems": 297, "eval_samples": 8}
    if mode.fast:
        setup = {"prompts": 4, "updates_per_rollout": 4, "steps": 3}
        scored = {"eval_problems": 16, "eval_samples": 4}
    config = TrainConfig(
        seed=seed, reward=reward, advantage="gae", map_every=0, **setup, **scored
    )
    return Job(method, config)


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs under both rewards."""
    return all_jobs(runs(mode, RANDOM)) + all_jobs(runs(mode, TRUE))


def judge(mode: Mode, records: Records) -> Result:
    """Changes of entropy under a random reward, then differences under the true one."""
    random = by_arm(records, runs(mode, RANDOM), change)
    true = by_arm(records, runs(mode, TRUE), change)
    sides = differences(random[HIGH_OFF], random[LOW_OFF])
    without_high = differences(true[HIGH_OFF], true[BOTH])
    without_low = differences(true[LOW_OFF], true[BOTH])
    parts = [
        above("random reward: change of ln H, 0.2/inf - 1/0.2", sides),
        above("random reward: change of ln H at 0.2/inf", random[HIGH_OFF]),
        below("random reward: change of ln H at 1/0.2", random[LOW_OFF]),
        below("random reward: change of ln H at 0.2/0.2", random[BOTH]),
        above("true reward: change of ln H, 0.2/inf - 0.2/0.2", without_high),
        below("true reward: change of ln H, 1/0.2 - 0.2/0.2", without_low),
    ]
    without_clip = {NONE: random[NONE]}
    numbers = spreads("random reward, change of ln H", without_clip)
    numbers |= spreads("true reward, change of ln H", true)
    return conclude(parts, numbers)


def change(record: Record) -> float:
    """Change of ln H on held-out problems, from the first model to the last."""
    scores = record["scores"]
    return math.log(scores["end"]["entropy"] / scores["start"]["entropy"])


CLAIM = Claim(
    name="a9",
    statement="PPO with a critic and GAE: entropy moves in the directions of a4 and a7",
    source=(
        "arXiv 2509.26114, whose theory speaks of PPO and GRPO alike; the set-up with a "
        "critic is ours"
    ),
    criterion=(
        f"Whole runs with --advantage gae on countdown, {SEEDS} seeds, 10 rollouts of "
        "1,024 responses, 16 updates per rollout at 1e-4. The change of ln H on 297 "
        "held-out problems x 8 samples, from the first model to the last, with 95% "
        "intervals over seeds. Under bernoulli:0.5: over 0 at 0.2/inf, under 0 at 1/0.2 "
        "and at 0.2/0.2, and at 0.2/inf over that at 1/0.2. Under the true reward: at "
        "0.2/inf over that at 0.2/0.2, and at 1/0.2 under it"
    ),
    measure="ln H that 0.2/inf ends over 1/0.2 under a random reward",
    use=(
        "Use a4's sides for PPO: clip-low raises entropy over what clip-high leaves; do "
        "not expect 0.2/0.2 to lower it while the critic is new"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
