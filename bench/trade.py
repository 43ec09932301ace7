"""What does entropy cost in reward? Each way of raising it, measured against plain GRPO from one and the same point.

    python bench/trade.py DIR [--rollouts N]   measures what docs/results/trade.jsonl lacks
    python bench/trade.py --render             the tables alone: docs/results/trade.md

Paired branches (entrostat.lab.paired) on chain with its true reward, 2e-4, rollouts of 16 x 16, 8 updates. The points
are a run of plain GRPO (seed 300) at its start, and after 100 and 300 rollouts. Per rollout an arm changes ln H by so
much and the reward that is learned by so much, both against plain GRPO on the same samples. An actuator is good where
it buys entropy for little of that.
"""

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from entrostat.clip import ClipBounds
from entrostat.entropy import TokenStats, excess_surprisal
from entrostat.estimate import seed_interval
from entrostat.lab.methods import make_method
from entrostat.lab.paired import measure
from entrostat.lab.point import Point
from entrostat.strategies.base import Reads, RolloutSummary, Strategy

RESULT = Path(__file__).parent.parent / "docs" / "results" / "trade.jsonl"
RATE, SEED = "2e-4", 300
STARTS = (0, 100, 300)
"""Rollouts of plain GRPO before a point."""


class Scale(NamedTuple):
    """Mean size of a token's tilt in the rollout in progress."""

    size: float = 1.0


@dataclasses.dataclass(frozen=True)
class Tilted(Strategy):
    """The thermostat's window at a pressure that does not move, on both sides or on one."""

    pressure: float
    low: float = 0.2
    high: float = 0.2
    sides: Literal["both", "low", "high"] = "both"

    @property
    def reads(self) -> Reads:
        return Reads.MEAN_ENTROPY | Reads.TOKEN_ENTROPY

    @property
    def acts_on_fresh(self) -> bool:
        return True

    @property
    def highest(self) -> float:
        return max(1.0, self.high)

    @property
    def per_token(self) -> bool:
        return True

    def init(self) -> Scale:
        return Scale()

    def observe(self, state: Scale, summary: RolloutSummary) -> Scale:
        assert summary.excess_surprisal is not None
        return Scale(summary.excess_surprisal)

    def bounds(self, state: Scale, old: TokenStats) -> ClipBounds:
        push = self.pressure * excess_surprisal(old).detach().float() / state.size
        low = (self.low * (1 + push)).clamp(-1, 1)
        high = (
            torch.where(push > 1, -1.0, self.high) if math.isinf(self.high) else (self.high * (1 - push)).clamp(-1, 1)
        )
        if self.sides == "low":
            high = torch.full_like(low, self.high)
        if self.sides == "high":
            low = torch.full_like(low, self.low)
        return ClipBounds(low, high.to(low.dtype))


def constant(name: str, gain: str, value: float) -> object:
    """An objective whose gain is on at all entropies."""
    if name == "repo":
        return make_method("objective:repo", target=10.0, zeta=value, zeta_min=value, zeta_max=value)
    return make_method(f"objective:{name}", **({"target": 10.0} if name == "stare" else {}), **{gain: value})


ARMS = {
    "no clipping": make_method("grpo", low=1.0, high=math.inf),
    "0.2 below, none above": make_method("grpo", high=math.inf),
    "0.05 below, none above": make_method("clip-lower", low=0.05),
    "0.02 below, none above": make_method("clip-lower", low=0.02),
    "tilt 0.5": Tilted(0.5),
    "tilt 1": Tilted(1.0),
    "tilt 1.5": Tilted(1.5),
    "tilt 1, low side": Tilted(1.0, sides="low"),
    "tilt 3, low side": Tilted(3.0, sides="low"),
    "tilt 1, high side": Tilted(1.0, sides="high"),
    "tilt 1 on 0.05 and none": Tilted(1.0, low=0.05, high=math.inf),
    "tilt 1 on 0.05 and none, low side": Tilted(1.0, low=0.05, high=math.inf, sides="low"),
    "tilt 3 on 0.05 and none, low side": Tilted(3.0, low=0.05, high=math.inf, sides="low"),
    "REPO zeta 0.1": constant("repo", "zeta", 0.1),
    "REPO zeta 0.3": constant("repo", "zeta", 0.3),
    "STARE weight 1.1": constant("stare", "weight", 1.1),
    "STARE weight 2": constant("stare", "weight", 2.0),
    "W-REINFORCE weight 0.5": constant("w-reinforce", "weight", 0.5),
}


def start(folder: Path, rollouts: int) -> str:
    """The checkpoint of plain GRPO after so many rollouts; the task's base model for none."""
    if not rollouts:
        return ""
    out = folder / f"grpo-{rollouts}"
    if not (out / "summary.json").exists():
        words = ["--engine", "fast", "--task", "chain", "--learning-rate", RATE, "--prompts", "16", "--map-every", "0"]
        words += ["--steps", str(rollouts), "--seed", str(SEED), "--eval-problems", "2", "--eval-samples", "1"]
        subprocess.run([sys.executable, "-m", "entrostat", "train", "--out", str(out), *words, "grpo"], check=True)
    return str(out / "checkpoint")


def run(folder: Path, rollouts: int) -> None:
    """Measures seeds until each point has so many rollouts; a line per rollout."""
    torch.set_num_threads(1)
    methods = [make_method("grpo"), *ARMS.values()]
    for seed in range(rollouts // 8):
        for after in STARTS:
            if any(line["start"] == after and line["seed"] == seed for line in lines()):
                continue
            point = Point(
                task="chain",
                model=start(folder, after),
                reward="true",
                scale_rewards="group",
                learning_rate=float(RATE),
                length=8,
                held_out=256,
            )
            for row in measure(point, methods, seed):
                base, *arms = row.branches
                changes = {}
                for name, arm in zip(ARMS, arms, strict=True):
                    changes[name] = [arm.log_entropy - base.log_entropy, arm.reward - base.reward, arm.kl]
                record = {"start": after, "seed": seed, "rollout": row.rollout, "before": row.before}
                record |= {"grpo": [base.log_entropy - row.before, base.reward - row.reward, base.kl], "arms": changes}
                with RESULT.open("a") as file:
                    file.write(json.dumps(record) + "\n")
            print(f"after {after}, seed {seed}", file=sys.stderr, flush=True)


def lines() -> list[dict]:
    return [json.loads(line) for line in RESULT.read_text().splitlines()] if RESULT.exists() else []


def render() -> Iterable[str]:
    """A row per arm and point, in thousandths."""
    yield "# What entropy costs in reward: all actuators\n\n    python bench/trade.py --render\n"
    yield "Made from [trade.jsonl](trade.jsonl). What it says: [bench.md](../bench.md). Per rollout, against plain GRPO"
    yield "on the same samples, 95% intervals over rollouts."
    for after in STARTS:
        rows = [line for line in lines() if line["start"] == after]
        if not rows:
            continue
        drift, gain = (1e3 * statistics.fmean(row["grpo"][place] for row in rows) for place in (0, 1))
        yield (
            f"\nAfter {after} rollouts of plain GRPO, which changes ln H by {drift:+.1f} and the reward by {gain:+.1f} "
            f"thousandths per rollout; {len(rows)} rollouts:\n"
        )
        yield "| | ln H, thousandths | reward, thousandths |\n|---|---|---|"
        for name in ARMS:
            cells = []
            for place in (0, 1):
                value, low, high = seed_interval([1e3 * row["arms"][name][place] for row in rows])
                cells.append(f"{value:+.1f} [{low:+.1f}, {high:+.1f}]")
            yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, nargs="?", help="folder of the starting points")
    parser.add_argument("--rollouts", type=int, default=64, help="per point; 8 per seed")
    parser.add_argument("--render", action="store_true", help="write the tables alone")
    options = parser.parse_args()
    if options.dir and not options.render:
        run(options.dir, options.rollouts)
    RESULT.with_suffix(".md").write_text("\n".join(render()) + "\n")


if __name__ == "__main__":
    main()
