"""Does clip-lower keep entropy and pass@32 at a comparable mean@32, and from which `low` on? Three seeds of each.

    python bench/clip_lower.py runs/clip-lower [--render]

Trains what is missing under the folder, two runs side by side with a thread each, and scores each final model on all
297 held-out problems with 32 samples each (about 40 minutes on two cores); a stopped set goes on where it was. Then, or
at once with --render, writes docs/results/clip-lower.json and prints the table of docs/results/clip-lower.md. Criterion
and outcome stand in that page.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from entrostat.estimate import hierarchical_interval, pass_at_k

SEEDS = (0, 1, 2)
PROBLEMS, SAMPLES = 297, 32
SETTINGS = {
    "grpo .2/.2": ("grpo",),
    "clip-lower .15/inf": ("clip-lower", "--low", "0.15"),
    "clip-lower .1/inf": ("clip-lower", "--low", "0.1"),
    "clip-lower .05/inf": ("clip-lower", "--low", "0.05"),
    "clip-lower .02/inf": ("clip-lower", "--low", "0.02"),
    "clip-lower .005/inf": ("clip-lower", "--low", "0.005"),
    "clip-lower 0/inf": ("clip-lower", "--low", "0"),
}
RESULT = Path(__file__).parent.parent / "docs" / "results" / "clip-lower.json"


def folder(root: Path, name: str, seed: int) -> Path:
    return root / f"{name.replace(' ', '-').replace('/', '-')}-seed{seed}"


def entrostat(*args: str) -> str:
    return subprocess.run([sys.executable, "-m", "entrostat", *args], check=True, capture_output=True, text=True).stdout


def run(root: Path, name: str, seed: int) -> None:
    """Trains and scores what is missing."""
    out = folder(root, name, seed)
    if not (out / "summary.json").exists():
        start = ["--resume", str(out)] if out.exists() else ["--seed", str(seed), "--out", str(out), *SETTINGS[name]]
        entrostat("train", *start)
    if not (out / "scores-all.json").exists():
        size = ("--problems", str(PROBLEMS), "--samples", str(SAMPLES), "--json")
        (out / "scores-all.json").write_text(entrostat("evaluate", str(out / "checkpoint"), *size))
    print(f"{name} seed {seed} done", file=sys.stderr, flush=True)


def scores(root: Path, name: str) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """The summaries, and (seeds, problems) arrays of mean and of pass@32, the latter unbiased from SAMPLES samples."""
    found = [json.loads((folder(root, name, s) / "summary.json").read_text()) for s in SEEDS]
    scored = [json.loads((folder(root, name, s) / "scores-all.json").read_text()) for s in SEEDS]
    for summary, final in zip(found, scored, strict=True):
        summary["entropy_end"] = final["entropy"]
    correct = np.array([f["correct"] for f in scored])
    return found, correct / SAMPLES, np.asarray(pass_at_k(SAMPLES, correct, 32))


def mean_of(root: Path, name: str, key: str) -> float:
    """A column of metrics.jsonl, its mean over rollouts and seeds."""
    lines = [line for s in SEEDS for line in (folder(root, name, s) / "metrics.jsonl").read_text().splitlines()]
    return round(float(np.mean([json.loads(line)[key] for line in lines])), 6)


def interval(values: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Mean of a (seeds, problems) array; 95% bootstrap that draws seeds and, within, problems (shared by all seeds)."""
    found = hierarchical_interval(values, seed=rng)
    return {name: round(value, 4) for name, value in found._asdict().items()}


def collect(root: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    base = scores(root, "grpo .2/.2")
    rows = {}
    for name in SETTINGS:
        found, mean, passed = scores(root, name)
        rows[name] = {
            "entropy_start": [round(f["entropy_start"], 4) for f in found],
            "entropy_end": [round(f["entropy_end"], 4) for f in found],
            "mean@32": interval(mean, rng),
            "pass@32": interval(passed, rng),
            "mean@32 over grpo": interval(mean - base[1], rng),
            "pass@32 over grpo": interval(passed - base[2], rng),
            "clip_low share": mean_of(root, name, "clip_low"),
            "E3 change clipped": mean_of(root, name, "E3/change_clipped"),
            "E4 change clipped": mean_of(root, name, "E4/change_clipped"),
            "change kept": round(sum(mean_of(root, name, f"E{i}/change_kept") for i in range(1, 5)), 6),
            "seconds": [f["seconds"] for f in found],
        }
    config = json.loads((folder(root, "grpo .2/.2", 0) / "config.json").read_text())
    return {"seeds": SEEDS, "versions": config["versions"], "steps": config["steps"], "rows": rows}


def show(cell: dict[str, float], sign: str = "") -> str:
    return f"{cell['value']:{sign}.3f} [{cell['low']:{sign}.3f}, {cell['high']:{sign}.3f}]"


def main() -> None:
    root = Path(sys.argv[1])
    if "--render" not in sys.argv:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: run(root, *job), [(name, s) for s in SEEDS for name in SETTINGS]))
        RESULT.write_text(json.dumps(collect(root), indent=1) + "\n")
    heads = [
        "setting",
        "entropy at the end",
        "mean@32",
        "pass@32",
        "mean@32 over grpo",
        "pass@32 over grpo",
        "clipped low",
    ]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name, row in json.loads(RESULT.read_text())["rows"].items():
        ends = " ".join(f"{x:.3f}" for x in row["entropy_end"])
        cells = [show(row["mean@32"]), show(row["pass@32"])]
        over = ["" if name.startswith("grpo") else show(row[f"{m} over grpo"], "+") for m in ("mean@32", "pass@32")]
        print("| " + " | ".join([name, ends, *cells, *over, f"{100 * row['clip_low share']:.1f}%"]) + " |")


if __name__ == "__main__":
    main()
