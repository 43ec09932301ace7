"""Which side of a mask raises entropy: a window on the ratio, and one on the change of p that drops as many tokens.

    python bench/masks.py               measures what docs/results/masks.jsonl lacks, a line a rollout (20 core minutes)
    python bench/masks.py --render      the tables alone, from that file: docs/masks.md

Countdown's base model, bernoulli:0.5 less the group's mean, 16 x 16 responses, 8 updates, no clip as the base.

1. Theorem 1 on real tokens (kind "dropped"): a walk without a clip. At every update, before its step, which tokens
   would each mask drop, and what is r (Q_a - E[Q]) summed over them? Both signs of A count, as in the theorem.
2. Paired branches (kind "paired", entrostat.lab.paired) with new seeds: ln H after a rollout's updates with a mask's
   low or high side alone, less that without.

Criteria, set before the run. A statistic's odd part is (low - high) / 2 of ln H per rollout, with a 95% interval over
rollouts (Student's t). Over 0: the papers' rule, low raises and high lowers. Under 0: the rule has turned round. An
interval with 0 in it: not decided. The same for the difference of the two statistics' odd parts, in the same rollouts.
Thresholds were chosen on seed 900 of step 1, the same share for both statistics; the page's numbers are of other seeds.
Its prediction, from that seed: ratio low +, ratio high -, probability low about 0, probability high +, so that the odd
part is over 0 for the ratio and under 0, at a half of the size or less, for the change of p.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import masks_page
from entrostat.clip import ClipBounds
from entrostat.engines.fast import Seen, mini_batches, optimizer, update
from entrostat.engines.qwen2 import load_model
from entrostat.engines.rollout import of_run
from entrostat.entropy import bracket, excess_surprisal
from entrostat.lab.environment import graded, lab_environment
from entrostat.lab.methods import make_method
from entrostat.lab.paired import PairedRollout, measure
from entrostat.lab.point import NO_CLIPPING, Point
from entrostat.mask import Statistic, keep_mask

OUT = Path(__file__).parent.parent / "docs" / "results" / "masks.jsonl"
WALKS = range(100, 102)
"""Seeds of step 1."""


class Cell(NamedTuple):
    """One setting: thresholds that drop about the same share."""

    learning_rate: float
    ratio: float
    probability: float
    seeds: range

    @property
    def point(self) -> Point:
        return Point(learning_rate=self.learning_rate)

    @property
    def name(self) -> str:
        return f"lr{self.learning_rate:g}"


CELLS = (Cell(1e-4, 0.021, 0.01, range(8)), Cell(2.5e-5, 0.009, 0.004, range(8)))
SIZES: dict[Statistic, tuple[float, ...]] = {
    "ratio": (0.2, 0.05, 0.021, 0.009),
    "probability": (0.2, 0.05, 0.01, 0.004),
}
"""Thresholds of step 1."""


def arms(cell: Cell) -> dict[str, Any]:
    """The four masks of a cell by the name of statistic and side. A mask's gradient is that of a clip."""
    return {
        "ratio low": make_method("grpo", low=cell.ratio, high=math.inf),
        "ratio high": make_method("grpo", low=1.0, high=cell.ratio),
        "probability low": make_method("dppo", low=cell.probability, high=1.0),
        "probability high": make_method("dppo", low=1.0, high=cell.probability),
    }


def dropped(seen: Seen) -> dict[str, list[float]]:
    """Of each mask and side: dropped tokens, and over them the sums of r (Q_a - E[Q]), r (ln p + H) and p_old."""
    mask, r = seen.chosen.mask[0], seen.logratio[0].exp()
    now = of_run(seen.now, 0)
    old = seen.chosen.old.logprobs[0]
    worth = (r * bracket(now), r * excess_surprisal(now), old.exp())
    sums = {"all": [float(mask.sum()), *(float(each[mask].abs().sum()) for each in worth)]}
    for statistic, sizes in SIZES.items():
        for size in sizes:
            for side, low, high in (("low", size, math.inf), ("high", 1.0, size)):
                keep = keep_mask(seen.logratio[0], old, None, low=low, high=high, statistic=statistic)
                gone = mask & ~keep
                sums[f"{statistic} {side} {size}"] = [float(gone.sum()), *(float(each[gone].sum()) for each in worth)]
    return sums


def added(seen: list[Seen]) -> dict[str, list[float]]:
    """`dropped` over a rollout's updates."""
    updates = [dropped(each) for each in seen]
    total = {}
    for name in updates[0]:
        total[name] = [round(sum(numbers), 6) for numbers in zip(*(each[name] for each in updates), strict=True)]
    return total


def walk(cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
    """Step 1, one seed: a record per rollout."""
    point = cell.point
    environment, folder = lab_environment(point.task, point.model)
    model = load_model(folder)
    adam = optimizer(model, point.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    problems = environment.task.problems((point.warmup + point.length) * point.prompts, split="train", seed=seed)
    none = ClipBounds(torch.ones(1, 1, 1), torch.full((1, 1, 1), math.inf))
    for rollout in range(-point.warmup, point.length):
        first = (rollout + point.warmup) * point.prompts
        rolled = graded(
            environment,
            model,
            problems[first : first + point.prompts],
            samples=point.samples,
            temperature=point.temperature,
            reward=point.reward,
            scale_rewards=point.scale_rewards,
            generator=generator,
            key=f"{seed}/{rollout}",
        )
        batches = mini_batches(rolled.sampled, point.updates_per_rollout, [generator])
        seen: list[Seen] = []
        update(model, adam, rolled.sampled, rolled.advantages[None], none, batches, see=seen.append)
        if rollout >= 0:
            yield {"kind": "dropped", "cell": cell.name, "seed": seed, "rollout": rollout, "sums": added(seen)}


def pair(cell: Cell, row: PairedRollout) -> dict[str, Any]:
    """A record of step 2: the base's change of ln H and KL; of each arm ln H less the base's, and its dropped share."""
    base, *others = row.branches
    changes = {}
    for name, branch in zip(arms(cell), others, strict=True):
        changes[name] = [branch.log_entropy - base.log_entropy, branch.clip_low + branch.clip_high]
    shared = {"kind": "paired", "cell": cell.name, "seed": row.seed, "rollout": row.rollout}
    sizes = {name: cell.ratio if name.startswith("ratio") else cell.probability for name in changes}
    return {**shared, "sizes": sizes, "base": [base.log_entropy - row.before, base.kl], "arms": changes}


def missing(out: Path) -> Iterator[tuple[str, Cell, int]]:
    """Kind, cell and seed of what the file lacks."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    held = {(record["kind"], record["cell"], record["seed"]) for record in map(json.loads, lines)}
    for cell in CELLS:
        for seed in WALKS:
            if ("dropped", cell.name, seed) not in held:
                yield "dropped", cell, seed
    # the cells take turns, so that a run that is stopped has both
    for seed in range(max(len(cell.seeds) for cell in CELLS)):
        for cell in CELLS:
            if seed in cell.seeds and ("paired", cell.name, seed) not in held:
                yield "paired", cell, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind, cell, seed in () if options.render else list(missing(options.out)):
        start = time.perf_counter()
        if kind == "dropped":
            records = list(walk(cell, seed))
        else:
            methods = [NO_CLIPPING, *arms(cell).values()]
            records = [pair(cell, row) for row in measure(cell.point, methods, seed)]
        # a seed's lines are written together, once all are measured
        with options.out.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records))
        print(f"{kind} {cell.name} seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    masks_page.write(options.out)


if __name__ == "__main__":
    main()
