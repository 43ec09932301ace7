"""Random rewards of other laws, with and without the group's deviation (arXiv 2509.26114)."""

from entrostat.reproduce.claim import Claim, Mode, Part, Result
from entrostat.reproduce.judge import above, below, conclude, differences, spread
from entrostat.reproduce.runs import Job, Records
from entrostat.reproduce.setups import SMALL_BATCH, STATIC, blind, gain, over_seeds

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


def runs(mode: Mode, law: str) -> dict[str, list[Job]]:
    """a4's settings under a law of the reward, three seeds."""
    seeds = mode.repeats(3)
    return {name: [blind(mode, seed, method, **LAWS[law]) for seed in seeds] for name, method in STATIC.items()}


def jobs(mode: Mode, records: Records) -> list[Job]:
    """All of them."""
    return [job for law in laws(mode) for found in runs(mode, law).values() for job in found]


def judge(mode: Mode, records: Records) -> Result:
    """a4's three directions for every law."""
    parts: list[Part] = []
    numbers = {}
    for law in laws(mode):
        change = {name: over_seeds(records, found, gain) for name, found in runs(mode, law).items()}
        parts += [
            above(f"{law}: clip-low alone - no clipping, nats", differences(change["low only"], change["none"])),
            below(f"{law}: clip-high alone - no clipping, nats", differences(change["high only"], change["none"])),
            below(f"{law}: .2/.2, end - start, nats", change["both"]),
        ]
        numbers[f"{law}: no clipping, end - start"] = spread(change["none"])._asdict()
    return conclude(parts, numbers)


CLAIM = Claim(
    name="a6",
    statement="The directions of a4 hold under Bernoulli(.3), Bernoulli(.7) and N(0, 1), with and without deviation",
    source="arXiv 2509.26114, runs with random rewards",
    criterion=(
        "a4's first three comparisons, 3 seeds, for bernoulli:0.3, bernoulli:0.7 and normal with R - mean and with (R "
        "- mean) / std, and bernoulli:0.5 with std: all 21 intervals on the claimed side"
    ),
    measure="nats that clip-low alone adds under Bernoulli(.3)",
    use=(
        "Use a4's advice whatever law the reward has: clip-high alone ended under no clipping in 20 of 21 pairs of "
        "runs; do not expect .2/.2 to lower entropy under any of them"
    ),
    scale=SMALL_BATCH,
    jobs=jobs,
    judge=judge,
    fast="Bernoulli(.3) with std and N(0, 1) without; few seeds, short runs",
)
