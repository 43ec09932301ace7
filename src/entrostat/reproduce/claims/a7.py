"""True reward: without clip-high entropy is higher, without clip-low it is lower (arXiv 2509.26114)."""

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import SHARE, above, below, conclude, differences, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import INF, late_entropy, mean_score, over_seeds, pass_score, true

SCALE = (
    "rollouts of 256 responses and a learning rate of 1e-4 where the paper has 4,096 and 5e-7, on a task that leaves "
    "GRPO little to learn"
)
"""What of the paper's set-up the lab lacks under the true reward."""
METHODS = {
    ".2/.2": make_method("grpo"),
    "high inf": make_method("grpo", high=INF),
    "low 1": make_method("grpo", low=1.0),
}


def runs(mode: Mode) -> dict[str, list[Job]]:
    """Three settings, five seeds."""
    return {name: [true(mode, seed, method) for seed in mode.repeats(5)] for name, method in METHODS.items()}


def jobs(mode: Mode, records: Records) -> list[Job]:
    """All of them."""
    return [job for found in runs(mode).values() for job in found]


def judge(mode: Mode, records: Records) -> Result:
    """Each against .2/.2, paired by seed."""
    found = runs(mode)
    end = {name: over_seeds(records, some, late_entropy) for name, some in found.items()}
    parts = [
        above("entropy at .2/inf - .2/.2, nats", differences(end["high inf"], end[".2/.2"])),
        below("entropy at 1/.2 - .2/.2, nats", differences(end["low 1"], end[".2/.2"])),
    ]
    numbers = {f"{name}: entropy at the end": spread(values)._asdict() for name, values in end.items()}
    for name, some in found.items():
        numbers[f"{name}: mean@n"] = spread(over_seeds(records, some, mean_score()), limits=SHARE)._asdict()
        numbers[f"{name}: pass@n"] = spread(over_seeds(records, some, pass_score()), limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a7",
    statement="True reward: switching clip-high off raises entropy, switching clip-low off lowers it",
    source="arXiv 2509.26114, runs with the true reward",
    criterion=(
        "100 rollouts, 5 seeds, mean entropy of the last 10 rollouts against .2/.2, paired by seed: over it at high = "
        "inf, under it at low = 1 (95% intervals off 0)"
    ),
    measure="nats that high = inf adds at the end",
    use=(
        "Use tighter windows or the thermostat to move entropy; do not switch off one side of a window of .2 for that:"
        " it moved entropy by .01 nats"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
