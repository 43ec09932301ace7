"""Random rewards: which side of the clip moves entropy which way (arXiv 2509.26114, runs with random rewards)."""

from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.judge import SHARE, above, below, conclude, differences, spread, within
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import STATIC, blind, gain, over_seeds, share, start_entropy

STILL = 0.1
"""Share of the base model's entropy that a run without clipping may drift by."""
SCALE = (
    "rollouts of 256 responses and a learning rate of 1e-4 where the paper has 4,096 and 5e-7; without any clip "
    "entropy drifts by as much as a clip moves it"
)
"""What of the paper's set-up the lab lacks under random rewards."""


def jobs(mode: Mode, records: Records) -> list[Job]:
    """Four settings of the clip, five seeds."""
    return [blind(mode, seed, method) for method in STATIC.values() for seed in mode.repeats(5)]


def judge(mode: Mode, records: Records) -> Result:
    """Each side against no clipping, paired by seed, and the whole run's change."""
    runs = {name: [blind(mode, seed, method) for seed in mode.repeats(5)] for name, method in STATIC.items()}
    change = {name: over_seeds(records, found, gain) for name, found in runs.items()}
    start = over_seeds(records, runs["none"], start_entropy)
    parts = [
        above("clip-low alone - no clipping, nats", differences(change["low only"], change["none"])),
        below("clip-high alone - no clipping, nats", differences(change["high only"], change["none"])),
        below(".2/.2, end - start, nats", change["both"]),
        within(
            "no clipping, (end - start) / start", [c / h for c, h in zip(change["none"], start, strict=True)], STILL
        ),
    ]
    numbers = {f"{name}, end - start": spread(values)._asdict() for name, values in change.items()}
    for side in ("clip_low", "clip_high"):
        numbers[f"{side} at .2/.2"] = spread(over_seeds(records, runs["both"], share(side)), limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a4",
    statement="Random reward: clip-low alone raises entropy, clip-high alone and .2/.2 lower it, no clip does neither",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "60 rollouts under bernoulli:0.5, 5 seeds, entropy of the last 10 rollouts: low .2 / high inf over no "
        "clipping, low 1 / high .2 under it (95% intervals of the paired differences off 0), .2/.2 under its start, "
        f"and no clipping within {STILL:.0%} of its start"
    ),
    measure="nats that clip-low alone adds",
    use=(
        "Use a tight high to lower entropy against what the same run does without a clip; do not expect .2/.2 to lower"
        " it where steps are large: look at the drift of a run without a clip first"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
