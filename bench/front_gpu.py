"""The headline of docs/bench.md on one GPU: plain GRPO and controllers on chain, 512 prompts x 8 responses a rollout.

    python bench/front_gpu.py --out DIR           one GPU, 9 minutes of it; the same command goes on where it stopped
    python bench/front_gpu.py --out DIR --toy     seconds on a CPU: the script, not a result

Every method at both learning rates, several seeds, side by side in the fast engine; runs of one seed have their
problems and random numbers in common. Models are scored on 128 held-out problems at several temperatures, after a third
of the rollouts and at the end.

    DIR/rows.jsonl      a line a run and rollout
    DIR/scores.jsonl    a line a run, horizon and temperature: right samples of each problem
    DIR/front-gpu.md    the table: each method at the learning rate that is best on validation problems

It needs torch, safetensors and numpy, and a checkout around it.
"""
# ruff: noqa: E402 (the path comes first)

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]
from regime_gpu import Folder, run_whole, say  # and a stand-in for jaxtyping, where there is none

# isort: split

from entrostat.engines.fast import sample
from entrostat.estimate import seed_interval
from entrostat.files import write_atomic
from entrostat.objectives.stare import Stare
from entrostat.strategies import make_strategy
from regime_gpu_runs import Batch, Block, Size, Walk

METHODS = {
    "grpo": make_strategy("grpo"),
    "clip-lower 0.05": make_strategy("clip-lower", low=0.05),
    "thermostat": make_strategy("thermostat"),
    "mai": make_strategy("mai", target=0.07),
    "stare": Stare(target=0.07),
}
TEMPERATURES = (1.0, 0.6, 0.2)
RATES = (1e-4, 2e-4)
FULL = Size(seeds=4, true_rollouts=300, rates=RATES)
TOY = Size(4, 4, 2, 2, true_rollouts=2, rates=RATES)
PROBLEMS, SAMPLES = 128, 32
SPLITS = {"test": 20_260_214, "validation": 20_260_215}
"""Seeds of the problems that are scored. Validation problems are of the training split."""


def blocks(size: Size) -> list[Block]:
    """One per learning rate."""
    share = 1 / len(size.rates)
    return [Block("true", rate, METHODS, size.true_rollouts, share, "chain") for rate in size.rates]


class Scores:
    """scores.jsonl, and what is due in it. A line of a rollout that is run again stands twice; the later one counts."""

    def __init__(self, path: Path, block: Block, horizons: Sequence[int], problems: int):
        self.path, self.block, self.horizons, self.problems = path, block, horizons, problems

    def __call__(self, walk: Walk) -> None:
        """Scores all runs where a horizon is reached."""
        if walk.rollout not in self.horizons:
            return
        lines = []
        for split, seed in SPLITS.items():
            source = "test" if split == "test" else "train"
            problems = walk.environment.task.problems(self.problems, split=source, seed=seed)
            for batch in walk.batches:
                for temperature in TEMPERATURES:
                    lines += self._lines(walk, batch, split, problems, temperature)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))

    def _lines(self, walk: Walk, batch: Batch, split: str, problems: list, temperature: float) -> list[dict[str, Any]]:
        environment, device = walk.environment, batch.model.device
        ids, mask = environment.spelling.encode([problem.prompt for problem in problems])
        runs = batch.model.runs
        for generator in batch.generators:
            generator.manual_seed(walk.rollout)
        taken = sample(
            batch.model,
            ids.to(device).expand(runs, -1, -1),
            mask.to(device).expand(runs, -1, -1),
            samples=SAMPLES,
            most=environment.task.max_completion,
            generators=batch.generators,
            temperature=temperature,
        )
        assert taken.old.entropy is not None
        entropy = taken.old.entropy.double().sum(dim=(1, 2)) / taken.mask.sum(dim=(1, 2))
        here = taken._replace(completions=taken.completions.cpu(), mask=taken.mask.cpu())
        lines = []
        for run, (arm, seed) in enumerate(batch.runs):
            verdicts = environment.verdicts(problems, here, run).view(len(problems), SAMPLES)
            line = {"rate": self.block.rate, "arm": arm, "seed": seed, "rollout": walk.rollout, "split": split}
            line |= {"temperature": temperature, "entropy": float(entropy[run])}
            lines.append(line | {"correct": verdicts.sum(dim=1).int().tolist()})
        return lines


Key = tuple[float, str, int, int, str, float]
"""Learning rate, method, seed, rollout, split, temperature."""


def read(path: Path) -> dict[Key, Mapping[str, Any]]:
    found: dict[Key, Mapping[str, Any]] = {}
    for text in path.read_text().splitlines() if path.is_file() else []:
        line = json.loads(text)
        key = (line["rate"], line["arm"], line["seed"], line["rollout"], line["split"], line["temperature"])
        found[key] = line
    return found


def _score(found: Mapping[Key, Mapping[str, Any]], key: Key) -> tuple[float, float]:
    """mean@32 and pass@32 of one run."""
    correct = found[key]["correct"]
    return sum(correct) / SAMPLES / len(correct), sum(c > 0 for c in correct) / len(correct)


def page(found: Mapping[Key, Mapping[str, Any]], size: Size) -> str:
    """A table per horizon, of the seeds that all methods have. Learning rate and temperature are those of the largest
    mean over seeds on validation problems."""
    text = f"{size.prompts} x {size.samples} responses, {size.updates} updates, chain\n"
    for rollout in sorted({key[3] for key in found}):
        text += f"\nAfter {rollout} rollouts, mean@32 and pass@32 over seeds, 95% intervals, paired over grpo:\n\n"
        text += "| | rate | T | H | mean@32 | pass@32 | mean@32 over grpo |\n|---|---|---|---|---|---|---|\n"
        plain: dict[int, float] = {}
        for arm in METHODS:
            validated: dict[tuple[float, float], list[float]] = {}
            for rate, name, _, at, split, temperature in found:
                if (name, at, split) == (arm, rollout, "validation"):
                    validated.setdefault((rate, temperature), [])
            for rate, temperature in validated:
                for seed in range(size.seeds):
                    key = (rate, arm, seed, rollout, "validation", temperature)
                    if key in found:
                        validated[rate, temperature].append(_score(found, key)[0])
            rate, temperature = max(validated, key=lambda place: statistics.fmean(validated[place]))
            means, passed, entropy = {}, [], []
            for seed in range(size.seeds):
                key = (rate, arm, seed, rollout, "test", temperature)
                if key in found:
                    means[seed], share = _score(found, key)
                    passed.append(share)
                    entropy.append(found[(rate, arm, seed, rollout, "test", 1.0)]["entropy"])
            plain = plain or means
            over = [means[seed] - plain[seed] for seed in means if seed in plain]
            cells = [arm, f"{rate:g}", f"{temperature:g}", f"{statistics.fmean(entropy):.3f}"]
            cells += [_interval(list(means.values())), _interval(passed), "" if arm == "grpo" else _interval(over)]
            text += "| " + " | ".join(cells) + " |\n"
    return text


def _interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    value, low, high = seed_interval(values)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def work(options: argparse.Namespace, size: Size, device: torch.device) -> None:
    """Each learning rate has its share of the time."""
    end = time.monotonic() + 60 * options.minutes
    folder = Folder(options.out, options.out / "checkpoints", size)
    scores = options.out / "scores.jsonl"
    horizons = [size.true_rollouts // 3, size.true_rollouts] if size.true_rollouts >= 3 else [size.true_rollouts]
    todo = [block for block in blocks(size) if not folder.whole(block)]
    for at, block in enumerate(todo):
        until = time.monotonic() + (end - time.monotonic()) / (len(todo) - at)
        after = Scores(scores, block, horizons, 4 if options.toy else PROBLEMS)
        run_whole(block, folder, device, until, sys.maxsize, every=25, after=after)
    write_atomic(options.out / "front-gpu.md", page(read(scores), size))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.5, help="stops by itself before they are over")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="a tiny size, on the CPU")
    for field in ("prompts", "seeds", "true-rollouts"):
        parser.add_argument(f"--{field}", type=int)
    options = parser.parse_args(words)
    device = torch.device("cpu" if options.toy else options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        say("no GPU here: --toy runs the script at toy size on a CPU")
        return 2
    given = {field.name: getattr(options, field.name, None) for field in dataclasses.fields(Size)}
    changes = {name: value for name, value in given.items() if value is not None}
    work(options, dataclasses.replace(TOY if options.toy else FULL, **changes), device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
