"""Where ID's entropy is high, pass@1 is as good and pass@k is better (arXiv 2602.09782:
step 120 of 400).

b8's runs are scored half way, at the end of ID's rising phase.
"""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b8
from entrostat.reproduce.judge import (
    SIGNED,
    above,
    conclude,
    differences,
    spread,
    spreads,
    within,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    all_jobs,
    by_arm,
    halfway,
    mean_score,
    over_seeds,
    pass_score,
    score_entropy,
)

MARGIN = 0.03
"""A difference of mean@n that counts as none."""


def runs(mode: Mode) -> dict[str, list[Job]]:
    """b8's runs of grpo and id."""
    by_method = b8.runs(mode)
    return {name: by_method[name] for name in ("grpo", "id")}


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs of both methods."""
    return all_jobs(runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """Scores half way against those of 0.2/0.2."""
    by_method = runs(mode)
    when = halfway(by_method["id"][0])
    mean = by_arm(records, by_method, mean_score, when)
    passed = by_arm(records, by_method, pass_score, when)
    mean_gain = differences(mean["id"], mean["grpo"])
    pass_gain = differences(passed["id"], passed["grpo"])
    parts = [
        above("pass@n half way: id - grpo", pass_gain, limits=SIGNED),
        within("mean@n half way: id - grpo", mean_gain, MARGIN, limits=SIGNED),
    ]
    entropy = by_arm(records, by_method, score_entropy, when)
    base = over_seeds(records, by_method["grpo"], mean_score, "start")
    learnt = differences(mean["grpo"], base)
    numbers = spreads("entropy half way", entropy)
    numbers["grpo: mean@n, half way - start"] = spread(learnt, limits=SIGNED)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b4",
    statement=(
        "At ID's high-entropy point pass@1 is equal to that without ID, and pass@k is "
        "better"
    ),
    source="arXiv 2602.09782, pass@k at step 120 of 400",
    criterion=(
        "b8's runs on chain after 100 of 200 rollouts, where ID turns, 16 seeds, 128 "
        "held-out problems x 32 samples at the run's best temperature: pass@32 is over "
        f"that of 0.2/0.2, and mean@32 is within {MARGIN} of it (95% intervals)"
    ),
    measure="pass@32 that ID adds half way",
    use=(
        "Use ID for pass@k only after you have seen it raise entropy in your own run; do "
        "not choose it for that where it does not"
    ),
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
