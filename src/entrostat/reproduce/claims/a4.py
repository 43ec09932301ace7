"""Which side of the clip moves entropy which way under random rewards (arXiv 2509.26114,
runs with random rewards).

It is measured at two steps. At the rule's small step (effects.py) a clip is compared
with no clip, and no clip has to leave entropy alone. There both sides together cancel: a
window that is narrow and even takes as much on each side. So what the papers' own
0.2/0.2 does is measured at a step at which 0.2 takes tokens. That measurement is the
change of entropy from where the rollout began, which is what a run's curve shows.
"""

from entrostat.lab.methods import make_method
from entrostat.reproduce.claim import Claim, Mode, Result
from entrostat.reproduce.effects import (
    BOTH,
    EPS,
    NONE,
    EffectJob,
    change,
    clip_shares,
    effect,
    halves,
    level,
    one_sided,
    regime,
)
from entrostat.reproduce.judge import above, below, conclude, spread, within
from entrostat.reproduce.runs import Records

STILL = 0.1 / 60
"""Of ln H per rollout: a drift that comes to a tenth of the entropy in 60 rollouts."""
LARGE_STEP = 1e-4
"""The lab's default learning rate. A window of 0.2 takes 1% to 2% of the tokens on each
side there."""
SCALE = (
    "at steps so small that the first order rules, windows of 0.2 take next to no tokens "
    f"(docs/regime.md), so a window of {EPS} stands for them there; and a batch on two "
    "cores has 1,024 responses where the paper has 4,096"
)
"""What the lab lacks of the paper's set-up under random rewards."""
ARMS = ("no clipping", "clip-low alone", "clip-high alone", "both")
UNCLIPPED, LOW_ALONE, HIGH_ALONE, BOTH_SIDES = range(4)
"""Their numbers in both measurements."""


def small_step(mode: Mode) -> EffectJob:
    """The four arms with the rule's threshold at its step."""
    narrow = (NONE, *one_sided(EPS), BOTH)
    seeds = mode.count(24)
    return EffectJob(regime(mode), narrow, seeds, first_seed=3000)


def large_step(mode: Mode) -> EffectJob:
    """The four arms with the papers' 0.2 at the lab's default step."""
    wide = (NONE, *one_sided(0.2), make_method("grpo"))
    seeds = mode.count(12)
    point = regime(mode, learning_rate=LARGE_STEP)
    return EffectJob(point, wide, seeds, first_seed=5000)


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """Both measurements."""
    return [small_step(mode), large_step(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """The narrow sides against no clipping, and no clipping itself; then the change of
    entropy under the papers' windows.
    """
    narrow = records[small_step(mode)]["rows"]
    wide = records[large_step(mode)]["rows"]
    low, high = effect(narrow, LOW_ALONE), effect(narrow, HIGH_ALONE)
    odd, even = halves(low, high)
    moved = "change of ln H per rollout"
    at_large = f"at {LARGE_STEP:g}"
    parts = [
        above("odd part of ln H per rollout, (low - high) / 2", odd),
        above("clip-low alone - no clipping, ln H per rollout", low),
        below("clip-high alone - no clipping, ln H per rollout", high),
        within(f"no clipping: {moved}", change(narrow, UNCLIPPED), STILL),
        above(f"0.2/inf {at_large}: {moved}", change(wide, LOW_ALONE)),
        below(f"1/0.2 {at_large}: {moved}", change(wide, HIGH_ALONE)),
        below(f"0.2/0.2 {at_large}: {moved}", change(wide, BOTH_SIDES)),
    ]
    numbers = {
        "even part of ln H per rollout, (low + high) / 2": spread(even),
        f"{EPS}/{EPS}: {moved}": spread(change(narrow, BOTH_SIDES)),
        f"no clipping {at_large}: {moved}": spread(change(wide, UNCLIPPED)),
    }
    for window, rows in ((f"{EPS}", narrow), (f"0.2 {at_large}", wide)):
        for arm, name in enumerate(ARMS):
            label, kl = f"{name}, window {window}", level(rows, arm, "kl")
            numbers[f"{label}: KL per rollout, nats per token"] = spread(kl)
            numbers |= clip_shares(rows, arm, label)
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a4",
    statement=(
        "Random reward: clip-low alone raises entropy, clip-high alone lowers it, both "
        "together lower it, and without clipping it stays where it is"
    ),
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "Paired branches under bernoulli:0.5, 1,024 responses, 16 updates, 8 rollouts per "
        "seed; 95% intervals over seeds of ln H per rollout. In the rule's regime (2.5e-5, "
        f"thresholds of {EPS}), 24 seeds: the odd part is over 0, clip-low alone is over "
        "no clipping, clip-high alone is under it, and without clipping the change is "
        f"within +-{STILL:.4f}, a tenth of the entropy in 60 rollouts. At 1e-4, where the "
        "papers' 0.2 takes tokens, 12 seeds: the change from where the rollout began is "
        "over 0 at 0.2/inf, under 0 at 1/0.2 and under 0 at 0.2/0.2"
    ),
    measure="ln H per rollout, odd part",
    use=(
        "Use a tight low to raise entropy and a tight high to lower it where your own log "
        "shows that the clip takes tokens; do not expect it of steps so large that noise "
        "moves entropy more (docs/regime.md)"
    ),
    scale=SCALE,
    jobs=jobs,
    judge=judge,
)
