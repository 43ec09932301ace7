"""Random rewards: which side of the clip moves entropy which way (arXiv 2509.26114, runs with random rewards).

Measured at two steps. At the rule's small step (effects.py) a clip is compared with no clip, and no clip has to leave
entropy alone. There both sides together cancel: a window that is narrow and even takes as much on each side. So what
the papers' own .2/.2 does is measured at a step at which .2 takes tokens, as the change of entropy from where the
rollout began, which is what a run's curve shows.
"""

from typing import Any

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.effects import (
    BOTH,
    EPS,
    NONE,
    EffectJob,
    change,
    effect,
    halves,
    level,
    one_sided,
    regime,
)
from entrostat.reproduce.judge import SHARE, above, below, conclude, spread, within
from entrostat.reproduce.runs import Records

STILL = 0.1 / 60
"""Of ln H a rollout: a drift that comes to a tenth of the entropy in 60 rollouts."""
LARGE_STEP = 1e-4
"""The lab's default learning rate, at which a window of .2 takes 1% to 2% of the tokens a side."""
SCALE = (
    "windows of .2 take next to nothing at steps so small that the first order rules (docs/regime.md), so a window of "
    f"{EPS} stands for them there; and two cores have batches of 1,024 responses where the paper has 4,096"
)
"""What of the paper's set-up the lab lacks under random rewards."""
ARMS = ("no clipping", "clip-low alone", "clip-high alone", "both")
WIDE = (NONE, *one_sided(0.2), make_method("grpo"))


def small_step(mode: Mode) -> EffectJob:
    """No clipping as the base; each narrow side alone, and both."""
    return EffectJob(
        regime(mode),
        (NONE, *one_sided(EPS), BOTH),
        len(mode.repeats(24)),
        first_seed=3000,
    )


def large_step(mode: Mode) -> EffectJob:
    """The same with the papers' .2 at the lab's default step."""
    return EffectJob(
        regime(mode, learning_rate=LARGE_STEP),
        WIDE,
        len(mode.repeats(12)),
        first_seed=5000,
    )


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """Both measurements."""
    return [small_step(mode), large_step(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """Narrow sides against no clipping, and what that does; then the change of entropy under the papers' windows."""
    narrow = records[small_step(mode)]["rows"]
    wide = records[large_step(mode)]["rows"]
    low, high = effect(narrow, 1), effect(narrow, 2)
    odd, even = halves(low, high)
    at = f"at {LARGE_STEP:g}"
    parts: list[Part] = [
        above("odd part, (low - high) / 2, of ln H a rollout", odd),
        above("clip-low alone - no clipping, ln H a rollout", low),
        below("clip-high alone - no clipping, ln H a rollout", high),
        within("no clipping, change of ln H a rollout", change(narrow, 0), STILL),
        above(f".2/inf {at}: change of ln H a rollout", change(wide, 1)),
        below(f"1/.2 {at}: change of ln H a rollout", change(wide, 2)),
        below(f".2/.2 {at}: change of ln H a rollout", change(wide, 3)),
    ]
    numbers: dict[str, Any] = {
        "even part, (low + high) / 2": spread(even)._asdict(),
        f"{EPS}/{EPS}: change of ln H a rollout": spread(change(narrow, 3))._asdict(),
        f"no clipping {at}: change of ln H a rollout": spread(
            change(wide, 0)
        )._asdict(),
    }
    for label, rows in ((f"at {EPS}", narrow), (f".2 {at}", wide)):
        for arm, name in enumerate(ARMS):
            numbers[f"{name}, {label}: KL a rollout, nats a token"] = spread(
                level(rows, arm, "kl")
            )._asdict()
            for side in ("clip_low", "clip_high"):
                share = spread(level(rows, arm, side), limits=SHARE)
                numbers[f"{name}, {label}: {side}"] = share._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a4",
    statement="Random reward: clip-low alone raises entropy, clip-high alone and both lower it, no clip does neither",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "paired branches under bernoulli:0.5, 1,024 responses, 16 updates, rollouts of 8 a seed; 95% intervals over "
        f"seeds of ln H in a rollout. In the rule's regime (2.5e-5, thresholds of {EPS}), 24 seeds: the odd part over "
        "0, clip-low alone over and clip-high alone under no clipping, and without clipping a change within "
        f"+-{STILL:.4f}, a tenth of the entropy in 60 rollouts. At 1e-4, where the papers' .2 takes tokens, 12 seeds: "
        "the change from where the rollout began is over 0 at .2/inf, under 0 at 1/.2 and under 0 at .2/.2"
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
