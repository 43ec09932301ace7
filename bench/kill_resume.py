"""Twenty kills at random moments: does the resumed run write the same metrics.jsonl as one that was left alone?

    python bench/kill_resume.py [KILLS]

Each trial starts a run, kills it with SIGKILL after a random share of the time that a whole run takes (imports, scoring
and checkpoints included), kills the resumed one too with probability a half, and lets the last one end. Prints one JSON
object; exit code 1 where a run differs.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = [
    *("--steps", "8", "--prompts", "8", "--samples", "8", "--updates-per-rollout", "4", "--save-every", "2"),
    *("--eval-problems", "8", "--eval-samples", "8", "--reward", "normal"),
]
TRAIN = [sys.executable, "-m", "entrostat", "train"]
COMPARED = ("metrics.jsonl", "scores-start.json", "scores-end.json", "checkpoint/model.safetensors")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A new run, or the resumed one."""
    rest = ["--resume", str(folder)] if folder.exists() else [*OPTIONS, "--out", str(folder), "od"]
    return subprocess.Popen([*TRAIN, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in COMPARED]


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rng = random.Random(0)
    root = Path(tempfile.mkdtemp())
    clock = time.perf_counter()
    assert start(root / "whole").wait() == 0
    whole = time.perf_counter() - clock
    trials = []
    while sum(len(t["killed_after"]) for t in trials) < kills:
        folder = root / f"trial{len(trials)}"
        moments = []
        while not moments or rng.random() < 0.5:
            process = start(folder)
            moments.append(round(rng.uniform(0.0, whole), 2))
            time.sleep(moments[-1])
            process.kill()
            process.wait()
        while start(folder).wait() != 0:
            raise SystemExit(f"{folder} does not resume")
        trials.append({"killed_after": moments, "equal": read(folder) == read(root / "whole")})
    shutil.rmtree(root)
    equal = all(t["equal"] for t in trials)
    print(json.dumps({"whole_seconds": round(whole, 1), "kills": kills, "equal": equal, "trials": trials}))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
