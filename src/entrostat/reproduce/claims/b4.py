"""Where ID's entropy is high, pass@1 is as good and pass@k better (arXiv 2602.09782: step 120 of 400)."""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.claims import b8
from entrostat.reproduce.judge import (
    SIGNED,
    above,
    conclude,
    differences,
    spread,
    within,
)
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import halfway, mean_score, over_seeds, pass_score

MARGIN = 0.03
"""Difference of mean@n that counts as none."""


def jobs(mode: Mode, records: Records) -> list[Job]:
    """b8's runs of grpo and id."""
    return [job for name in ("grpo", "id") for job in b8.runs(mode, name)]


def judge(mode: Mode, records: Records) -> Result:
    """Scores half way, at the end of ID's rising phase, against .2/.2's."""
    found = {name: b8.runs(mode, name) for name in ("grpo", "id")}
    when = halfway(found["id"][0])
    mean, passed, entropy = (
        {name: over_seeds(records, runs, statistic) for name, runs in found.items()}
        for statistic in (
            mean_score(when),
            pass_score(when),
            lambda record: record["scores"][when]["entropy"],
        )
    )
    parts = [
        above(
            "pass@n half way, id - .2/.2",
            differences(passed["id"], passed["grpo"]),
            limits=SIGNED,
        ),
        within(
            "mean@n half way, id - .2/.2",
            differences(mean["id"], mean["grpo"]),
            MARGIN,
            limits=SIGNED,
        ),
    ]
    numbers = {
        f"{name}: entropy half way": spread(values)._asdict()
        for name, values in entropy.items()
    }
    learnt = differences(
        mean["grpo"], over_seeds(records, found["grpo"], mean_score("start"))
    )
    numbers[".2/.2: mean@n half way - start"] = spread(learnt, limits=SIGNED)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="b4",
    statement="At ID's high-entropy point pass@1 is equal and pass@k better than without it",
    source="arXiv 2602.09782, pass@k at step 120 of 400",
    criterion=(
        "b8's runs on chain after 100 of 200 rollouts, where ID turns, 16 seeds, 128 held-out problems x 32 samples at "
        f"the run's best temperature: pass@32 over that of .2/.2, mean@32 within {MARGIN} of it (95% intervals)"
    ),
    measure="pass@32 that ID adds half way",
    use=(
        "Use ID for pass@k only after you have seen it raise entropy in your own run; do not choose it for that where "
        "it does not"
    ),
    scale=b8.SCALE,
    jobs=jobs,
    judge=judge,
)
