"""Random rewards: which side of the clip moves entropy which way (arXiv 2509.26114, runs with random rewards)."""

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.effects import BOTH, EPS, NONE, EffectJob, drift, effect, halves, level, one_sided, regime
from entrostat.reproduce.judge import SHARE, above, below, conclude, spread, within
from entrostat.reproduce.runs import Records

STILL = 0.1 / 60
"""Of ln H a rollout: a drift that comes to a tenth of the entropy in 60 rollouts."""
SCALE = (
    "windows of .2 take next to nothing at steps so small that the first order rules (docs/regime.md), so a window of "
    f"{EPS} stands for them; and two cores have batches of 1,024 responses where the paper has 4,096"
)
"""What of the paper's set-up the lab lacks under random rewards."""
ARMS = ("no clipping", "clip-low alone", "clip-high alone", f"{EPS}/{EPS}")


def job(mode: Mode) -> EffectJob:
    """No clipping as the base; each side alone, and both."""
    return EffectJob(regime(mode), (NONE, *one_sided(EPS), BOTH), len(mode.repeats(24)), first_seed=3000)


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """One measurement."""
    return [job(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """Each side against no clipping, from the same point, and what no clipping does."""
    rows = records[job(mode)]["rows"]
    low, high, both = (effect(rows, arm) for arm in (1, 2, 3))
    odd, even = halves(low, high)
    parts: list[Part] = [
        above("odd part, (low - high) / 2, of ln H a rollout", odd),
        above("clip-low alone - no clipping, ln H a rollout", low),
        below("clip-high alone - no clipping, ln H a rollout", high),
        below(f"{EPS}/{EPS} - no clipping, ln H a rollout", both),
        within("no clipping, change of ln H a rollout", drift(rows), STILL),
    ]
    numbers = {"even part, (low + high) / 2": spread(even)._asdict()}
    for arm, name in enumerate(ARMS):
        numbers[f"{name}: KL a rollout, nats a token"] = spread(level(rows, arm, "kl"))._asdict()
        for side in ("clip_low", "clip_high"):
            numbers[f"{name}: {side}"] = spread(level(rows, arm, side), limits=SHARE)._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a4",
    statement="Random reward: clip-low alone raises entropy, clip-high alone and both lower it, no clip does neither",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "paired branches under bernoulli:0.5 in the rule's regime (1,024 responses, 16 updates at 2.5e-5, "
        f"thresholds of {EPS}), 24 seeds of 8 rollouts; 95% intervals over seeds of the effect on ln H in a rollout: "
        "the odd part over 0, clip-low alone over and clip-high alone under no clipping, both together under it, and "
        f"without clipping a change within +-{STILL:.4f}, a tenth of the entropy in 60 rollouts"
    ),
    measure="ln H a rollout, odd part",
    use=(
        "Use a tight low to raise entropy and a tight high to lower it where your own log shows that the clip takes "
        "tokens; do not expect it of steps so large that noise moves entropy more (docs/regime.md)"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
