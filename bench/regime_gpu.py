"""The papers' own geometry on one GPU: 512 prompts x 8 responses a rollout, 16 updates of 256 sequences, several seeds.

    python bench/regime_gpu.py --out DIR           one GPU, 8 minutes of it; the same command goes on where it stopped
    python bench/regime_gpu.py --out DIR --toy     seconds on a CPU: the script, not a result

Blocks, in their order, on the lab's countdown model:

    random   whole runs under Bernoulli(.5) with R - mean (arXiv 2509.26114): no clip, each side alone, both
    paired   what each one-sided clip does to ln H in one rollout (entrostat.lab.paired), odd and even parts
    true     whole runs under the verifier: static thresholds, id, thermostat

and random and paired again at a second learning rate. A block's runs go side by side (entrostat.engines.fast). Runs of
one seed have their prompts, blind rewards and random numbers in common whatever their arm, so that arms differ by their
clip alone. A block that has not ended within its share of the time stops where it is.

    DIR/rows.jsonl         a line a run and rollout, or an arm and rollout of paired branches
    DIR/summary.json       of each block and arm: changes, differences, clip shares, with 95% intervals over seeds
    DIR/regime-gpu.json    the same as docs/claims.md shows it: copy it to docs/results

It needs torch, safetensors and numpy, and a checkout around it. Left out: other tasks and models, several GPUs,
scores on held-out problems.
"""
# ruff: noqa: E402 (the path comes first)

import argparse
import collections
import dataclasses
import itertools
import json
import math
import os
import platform
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]
try:
    import jaxtyping  # noqa: F401
except ImportError:  # its shapes are for readers and tests: any annotation does here
    stand_in = types.ModuleType("jaxtyping")
    for name in ("Bool", "Float", "Int", "Real"):
        setattr(stand_in, name, collections.defaultdict(lambda: Any))
    sys.modules["jaxtyping"] = stand_in

from entrostat.files import write_atomic
from entrostat.lab.environment import lab_environment
from entrostat.lab.paired import PairedRollout, measure
from entrostat.lab.point import Point
from regime_gpu_rows import paired_arms, run_arms, table
from regime_gpu_runs import SEQUENCES, TOY, Block, Remembering, Size, Walk, blocks


class Folder:
    """Rows, summary and checkpoints of a bench; nothing of it is ever half written but the last row."""

    def __init__(self, path: Path, checkpoints: Path, size: Size):
        """ValueError where `path` holds another size's."""
        self.path, self.checkpoints, self.size = path, checkpoints, size
        path.mkdir(parents=True, exist_ok=True)
        checkpoints.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(dataclasses.asdict(size)))
        known = path / "summary.json"
        self.summary = json.loads(known.read_text()) if known.is_file() else {"size": settings, "blocks": {}}
        if self.summary["size"] != settings:
            raise ValueError(f"{path} holds runs of another size: give it the same options, or choose another --out")
        self.rows: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for row in _lines(path / "rows.jsonl"):
            self.rows[row["block"]].append(row)

    def keep(self, block: Block, rows: Iterable[dict[str, Any]]) -> None:
        """These rows of a block alone; those of the other blocks stay."""
        self.rows[block.name] = list(rows)
        every = itertools.chain.from_iterable(self.rows.values())
        write_atomic(self.path / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in every))

    def append(self, block: Block, rows: Sequence[dict[str, Any]]) -> None:
        """More rows of a block."""
        self.rows[block.name] += rows
        with open(self.path / "rows.jsonl", "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def checkpoint(self, block: Block) -> Path:
        return self.checkpoints / f"{block.name.replace(' ', '-')}.pt"

    def whole(self, block: Block) -> bool:
        """Whether there is nothing left to do for it."""
        return self.summary["blocks"].get(block.name, {}).get("whole", False)

    def note(self, block: Block, cost: Mapping[str, float], device: torch.device) -> None:
        """Writes what the rows say of a block, and the table of all blocks."""
        rows, runs = self.rows[block.name], len(block.arms) * self.size.seeds
        of = paired_arms if block.kind == "paired" else run_arms
        cuda = device.type == "cuda"
        self.summary["blocks"][block.name] = {
            "kind": block.kind,
            "reward": block.reward,
            "learning_rate": block.rate,
            "rollouts": len(rows) // runs,
            "of": block.rollouts,
            "whole": len(rows) == runs * block.rollouts,
            "device": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
            "torch": torch.__version__,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
            "seconds": dict(cost),
            "arms": of(block, rows),
        }
        write_atomic(self.path / "summary.json", json.dumps(self.summary, indent=1) + "\n")
        write_atomic(self.path / "regime-gpu.json", json.dumps(table(self.summary), indent=1) + "\n")


def _lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file but those that a kill has cut."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def run_whole(
    block: Block,
    folder: Folder,
    device: torch.device,
    until: float,
    at_once: int,
    every: int,
    after: Callable[[Walk], None] = lambda walk: None,
) -> None:
    """Goes on with a block's runs until they are whole or the time is up; `after` looks at them after each rollout."""
    file, rows = folder.checkpoint(block), folder.rows[block.name]
    if not file.is_file() and block.name in folder.summary["blocks"]:
        say(f"{block.name}: its checkpoint is gone, so that it stays as it is")
        return
    environment, model = lab_environment(block.task)
    environment = environment._replace(task=Remembering(environment.task))
    walk = Walk(block, folder.size, environment, model, device, at_once)
    if file.is_file():
        walk.restore(torch.load(file, map_location="cpu", weights_only=True))
    done = [row for row in rows if row["rollout"] < walk.rollout]
    if len(done) != walk.rollout * len(block.arms) * folder.size.seeds:
        raise ValueError(f"{folder.path}/rows.jsonl lacks rows that {file} has gone past: choose another --out")
    folder.keep(block, done)
    last = 0.0
    while walk.rollout < block.rollouts and clock() + last < until:
        start = clock()
        folder.append(block, walk.step())
        after(walk)
        last = clock() - start
        if walk.rollout % every == 0 and walk.rollout < block.rollouts:
            _save(walk, file)
            say(f"{block.name}: {walk.rollout} of {block.rollouts} rollouts, {last:.2f} s each")
    if not walk.rollout:
        return
    if walk.rollout < block.rollouts:
        _save(walk, file)
    folder.note(block, walk.cost, device)
    if walk.rollout == block.rollouts:
        file.unlink(missing_ok=True)


def _save(walk: Walk, file: Path) -> None:
    aside = file.with_suffix(".new")
    torch.save(walk.state(), aside)
    os.replace(aside, file)


def run_paired(block: Block, folder: Folder, device: torch.device, until: float) -> None:
    """Goes on with a block's seeds until they are whole or the time is up; half a seed is begun anew."""
    size = folder.size
    point = Point(
        prompts=size.prompts,
        samples=size.samples,
        updates_per_rollout=size.updates,
        learning_rate=block.rate,
        length=block.rollouts,
        warmup=size.warmup,
        held_out=size.held_out,
        held_out_samples=size.samples,
    )
    rows = folder.rows[block.name]
    count = collections.Counter(row["seed"] for row in rows)
    todo = [seed for seed in range(size.seeds) if count[seed] < block.rollouts * len(block.arms)]
    before = folder.summary["blocks"].get(block.name, {}).get("seconds", {}).get("branches", 0.0)
    start, last = clock(), 0.0
    for seed in todo:
        began = clock()
        if began + last >= until:
            break
        folder.keep(block, [row for row in folder.rows[block.name] if row["seed"] != seed])
        try:
            for row in measure(point, list(block.arms.values()), seed, device=str(device)):
                folder.append(block, _branch_rows(block, row))
                if clock() >= until:
                    break
        except ValueError as error:  # a policy that is destroyed; the other seeds and blocks may stand
            say(f"{block.name}: {error}")
        last = clock() - began
        say(f"{block.name}: seed {seed} in {last:.1f} s")
    folder.note(block, {"branches": before + clock() - start}, device)


def _branch_rows(block: Block, row: PairedRollout) -> list[dict[str, Any]]:
    at = {"block": block.name, "seed": row.seed, "rollout": row.rollout, "before": row.before}
    fields = ("reward", "kl", "rms", "clip_low", "clip_high", "log_entropy")
    return [
        at | {"arm": arm, "entropy": math.exp(branch.log_entropy)} | {field: getattr(branch, field) for field in fields}
        for arm, branch in zip(block.arms, row.branches, strict=True)
    ]


def clock() -> float:
    return time.monotonic()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def work(options: argparse.Namespace, size: Size, device: torch.device) -> None:
    """All blocks, each with its share of what is left of the time; then the others have what is left."""
    end = clock() + 60 * options.minutes
    folder = Folder(options.out, options.checkpoints or options.out / "checkpoints", size)
    chosen = [block for block in blocks(size) if not options.blocks or block.kind in options.blocks]
    done = -1
    while (now := sum(map(len, folder.rows.values()))) != done and clock() < end:
        done, todo = now, [block for block in chosen if not folder.whole(block)]
        for at, block in enumerate(todo):
            share = block.weight / sum(each.weight for each in todo[at:])
            until = clock() + share * (end - clock())
            if block.kind == "paired":
                run_paired(block, folder, device, until)
            else:
                run_whole(block, folder, device, until, options.at_once or _at_once(size, device), options.save_every)
    left = [block.name for block in chosen if not folder.whole(block)]
    say(f"the time is up, not whole: {', '.join(left)}; the same command goes on" if left else "all blocks are whole")


def _at_once(size: Size, device: torch.device) -> int:
    """How many runs fit into one batch as far as torch's attention goes."""
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8)
    return max(1, SEQUENCES // (size.prompts * size.samples)) if old and device.type == "cuda" else sys.maxsize


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, help="folder of the unfinished runs' weights; by default in --out")
    parser.add_argument("--minutes", type=float, default=8.0, help="stops by itself before they are over")
    parser.add_argument("--blocks", nargs="+", choices=("random", "paired", "true"), help="these alone")
    for field in ("prompts", "samples", "updates", "seeds", "random-rollouts", "true-rollouts"):
        parser.add_argument(f"--{field}", type=int)
    parser.add_argument("--rates", type=float, nargs=2, help="learning rates of the first blocks and of the last two")
    parser.add_argument("--scale", choices=("group", "none"), help="of advantages under the true reward")
    parser.add_argument("--at-once", type=int, help="most runs in one batch, all by default: fewer need less memory")
    parser.add_argument("--save-every", type=int, default=25, help="rollouts between two checkpoints of whole runs")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="a tiny size, on the CPU")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Exit 2, and one line, for what the user can mend."""
    options = parse(words)
    device = torch.device("cpu" if options.toy else options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        say("no GPU here: --toy runs the script at toy size on a CPU, --device cpu the whole of it, for days")
        return 2
    given = {field.name: getattr(options, field.name, None) for field in dataclasses.fields(Size)}
    changes = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}
    try:
        work(options, dataclasses.replace(TOY if options.toy else Size(), **changes), device)
    except torch.cuda.OutOfMemoryError as error:
        said = str(error).splitlines()[0]
        say(
            f"the GPU's memory is too small ({said}): the same command with a smaller --at-once (6, say) goes on with "
            f"what {options.out} holds; a smaller --prompts needs another --out"
        )
        return 2
    except ValueError as error:
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
