"""ID, DID and OD against GRPO where there is much to learn, at the best temperature (arXiv
2602.09782's main table).

Whole runs on chain (setups.learning); clip-lower runs beside them.
"""

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import (
    SHARE,
    SIGNED,
    above,
    conclude,
    differences,
    spread,
    spreads,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    all_jobs,
    arms,
    by_arm,
    late_entropy,
    learning,
    mean_score,
    over_seeds,
    pass_score,
)

SEEDS = 16
METHODS = {
    "grpo": make_method("grpo"),
    "id": make_method("id"),
    "did": make_method("did"),
    "od": make_method("od"),
    "clip-lower": make_method("clip-lower", low=0.05),
}
OURS = ("id", "did", "od")
"""The strategies that the claim is about."""
SCALE = (
    "one made-up task, 200 rollouts of 256 responses where the paper has 400 of 512 on "
    "mathematics, and a model a thousand times smaller than the paper's smallest"
)
"""What the lab lacks of the paper's set-up for scores."""


def runs(mode: Mode) -> dict[str, list[Job]]:
    """Each method on chain."""
    return arms(learning, mode, mode.repeats(SEEDS), METHODS)


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The runs of all methods."""
    return all_jobs(runs(mode))


def judge(mode: Mode, records: Records) -> Result:
    """mean@n and pass@n of ID, DID and OD over GRPO's; the whole table as numbers."""
    by_method = runs(mode)
    mean = by_arm(records, by_method, mean_score)
    passed = by_arm(records, by_method, pass_score)
    parts = []
    for score, by_name in (("mean@n", mean), ("pass@n", passed)):
        for name in OURS:
            lead = differences(by_name[name], by_name["grpo"])
            parts.append(above(f"{score}: {name} - grpo", lead, limits=SIGNED))
    base_mean = over_seeds(records, by_method["grpo"], mean_score, "start")
    base_passed = over_seeds(records, by_method["grpo"], pass_score, "start")
    numbers = {
        "base model: mean@n": spread(base_mean, limits=SHARE),
        "base model: pass@n": spread(base_passed, limits=SHARE),
    }
    numbers |= spreads("mean@n", mean, limits=SHARE)
    numbers |= spreads("pass@n", passed, limits=SHARE)
    numbers |= spreads("entropy at the end", by_arm(records, by_method, late_entropy))
    for name, scores in mean.items():
        if name != "grpo":
            lead = differences(scores, mean["grpo"])
            numbers[f"{name} - grpo: mean@n"] = spread(lead, limits=SIGNED)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b8",
    statement="ID, DID and OD score above GRPO",
    source="arXiv 2602.09782, main table",
    criterion=(
        "chain (base mean@32 0.06 at its best temperature), 200 rollouts of 256 responses "
        f"at 2e-4, the best rate for grpo, id and clip-lower there, {SEEDS} seeds, 128 "
        "held-out problems x 32 samples at the better of temperatures 1 and 0.4 by "
        "validation problems: mean@32 and pass@32 of id, did and od are over grpo's, "
        "paired by seed (95% intervals). clip-lower with low = 0.05 stands beside them and "
        "has no part in the verdict"
    ),
    measure="mean@32 that ID adds to GRPO",
    use=(
        "Use a one-sided low before ID, DID or OD where a task is still to be learnt; do "
        "not compare methods on one run each: seeds of one method differ by 0.2 of mean@32 "
        "here"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
