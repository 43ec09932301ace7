"""ID, DID and OD against GRPO where there is much to learn, at the best temperature (2602.09782's main table)."""

from entrostat.lab.methods import Method, make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import (
    SHARE,
    SIGNED,
    above,
    conclude,
    differences,
    spread,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import (
    late_entropy,
    learning,
    mean_score,
    over_seeds,
    pass_score,
)

SEEDS = 16
METHODS: dict[str, Method] = {
    **{name: make_method(name) for name in ("grpo", "id", "did", "od")},
    "clip-lower": make_method("clip-lower", low=0.05),
}
OURS = ("id", "did", "od")
"""The strategies that the claim is about."""
SCALE = (
    "one made-up task, 200 rollouts of 256 responses where the paper has 400 of 512 on mathematics, and a model a "
    "thousand times smaller than the smallest of its"
)
"""What of the paper's set-up the lab lacks for scores."""


def runs(mode: Mode, name: str) -> list[Job]:
    """The method on chain."""
    return [learning(mode, seed, METHODS[name]) for seed in mode.repeats(SEEDS)]


def jobs(mode: Mode, records: Records) -> list[Job]:
    """The table."""
    return [job for name in METHODS for job in runs(mode, name)]


def judge(mode: Mode, records: Records) -> Result:
    """mean@n and pass@n of ID, DID and OD over .2/.2's; the whole table as numbers."""
    found = {name: runs(mode, name) for name in METHODS}
    mean = {
        name: over_seeds(records, some, mean_score()) for name, some in found.items()
    }
    passed = {
        name: over_seeds(records, some, pass_score()) for name, some in found.items()
    }
    parts = [
        above(
            f"mean@n, {name} - grpo",
            differences(mean[name], mean["grpo"]),
            limits=SIGNED,
        )
        for name in OURS
    ]
    parts += [
        above(
            f"pass@n, {name} - grpo",
            differences(passed[name], passed["grpo"]),
            limits=SIGNED,
        )
        for name in OURS
    ]
    base = (
        over_seeds(records, found["grpo"], mean_score("start")),
        over_seeds(records, found["grpo"], pass_score("start")),
    )
    numbers = {
        "base model: mean@n": spread(base[0], limits=SHARE)._asdict(),
        "base model: pass@n": spread(base[1], limits=SHARE)._asdict(),
    }
    for name, some in found.items():
        numbers[f"{name}: mean@n"] = spread(mean[name], limits=SHARE)._asdict()
        numbers[f"{name}: pass@n"] = spread(passed[name], limits=SHARE)._asdict()
        numbers[f"{name}: entropy at the end"] = spread(
            over_seeds(records, some, late_entropy)
        )._asdict()
        if name != "grpo":
            numbers[f"{name} - grpo: mean@n"] = spread(
                differences(mean[name], mean["grpo"]), limits=SIGNED
            )._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b8",
    statement="ID, DID and OD score above GRPO",
    source="arXiv 2602.09782, main table",
    criterion=(
        "chain (base mean@32 .06 at its best temperature), 200 rollouts of 256 responses at 2e-4, the best rate for "
        f"grpo, id and clip-lower there, {SEEDS} seeds, 128 held-out problems x 32 samples at the better of "
        "temperatures 1 and .4 by validation problems: mean@32 and pass@32 of id, did and od over grpo's, paired by "
        "seed (95% intervals). clip-lower .05 is beside them and has no part in the verdict"
    ),
    measure="mean@32 that ID adds to GRPO",
    use=(
        "Use a one-sided low before ID, DID or OD where a task is still to be learnt; do not compare methods on one "
        "run each: seeds of one method differ by .2 of mean@32 here"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
