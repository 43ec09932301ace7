"""Random rewards of other laws, with and without the group's deviation (arXiv 2509.26114)."""

from typing import Any

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.claims import a4
from entrostat.reproduce.effects import (
    EPS,
    NONE,
    EffectJob,
    change,
    effect,
    halves,
    one_sided,
    regime,
)
from entrostat.reproduce.judge import above, conclude, spread
from entrostat.reproduce.runs import Records

LAWS = {
    f"{reward}, {scale}": {"reward": reward, "scale_rewards": scale}
    for reward in ("bernoulli:0.3", "bernoulli:0.7", "normal", "bernoulli:0.5")
    for scale in ("none", "group")
    if (reward, scale) != ("bernoulli:0.5", "none")  # a4
}
FAST = ("bernoulli:0.3, group", "normal, none")


def laws(mode: Mode) -> list[str]:
    """The laws that are checked."""
    return [law for law in LAWS if not mode.fast or law in FAST]


def job(mode: Mode, law: str) -> EffectJob:
    """a4's two sides under a law of the reward."""
    options: dict[str, Any] = LAWS[law]
    return EffectJob(
        regime(mode, **options), (NONE, *one_sided(EPS)), len(mode.repeats(5, fast=3))
    )


def jobs(mode: Mode, records: Records) -> list[EffectJob]:
    """All of them."""
    return [job(mode, law) for law in laws(mode)]


def judge(mode: Mode, records: Records) -> Result:
    """a4's directions for every law."""
    parts: list[Part] = []
    numbers = {}
    for law in laws(mode):
        rows = records[job(mode, law)]["rows"]
        low, high = effect(rows, 1), effect(rows, 2)
        odd, even = halves(low, high)
        parts.append(above(f"{law}: odd part of ln H a rollout", odd))
        numbers[f"{law}: clip-low alone"] = spread(low)._asdict()
        numbers[f"{law}: clip-high alone"] = spread(high)._asdict()
        numbers[f"{law}: even part"] = spread(even)._asdict()
        numbers[f"{law}: drift without clipping"] = spread(change(rows, 0))._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a6",
    statement="The directions of a4 hold under Bernoulli(.3), Bernoulli(.7) and N(0, 1), with and without deviation",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "a4's odd part (clip-low over clip-high, each against no clipping), 5 seeds of 8 rollouts, for bernoulli:0.3, "
        "bernoulli:0.7 and normal with R - mean and with (R - mean) / std, and bernoulli:0.5 with std: over 0 for all "
        "7 laws (95% intervals)"
    ),
    measure="ln H a rollout, odd part under Bernoulli(.3)",
    use=(
        "Use a4's advice whatever law the reward has, with the group's deviation or without; do not look for a reward "
        "that turns the direction round"
    ),
    scale=a4.SCALE,
    jobs=jobs,
    judge=judge,
    fast="Bernoulli(.3) with std and N(0, 1) without; few seeds, small batches",
)
