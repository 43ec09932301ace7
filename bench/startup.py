"""What each command imports before it can help, or say what is wrong: modules, heavy ones, and time.

    python bench/startup.py [--repeats R] [--json]

For each command line: the number of modules that are imported, those of HEAVY among them, its processor time, and that
as a multiple of an empty Python's. It is the least of R starts that take turns with an empty one's, so that a busy
machine slows both. Exit code 1 where one of the heavy modules is imported.
"""

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

HEAVY = ("torch", "transformers", "trl", "plotly", "pandas", "pyarrow")
LINES = (
    "--help",
    "trian",
    "train --help",
    "train --stps 3",
    "train grpoo",
    "train grpo --help",
    "train grpo --targt 3",
    "train thermostat --rate 7",
    "train --resume nowhere",
    "compare --help",
    "compare grpoo",
    "evaluate --help",
    "evaluate nowhere",
    "report --help",
    "report nowhere",
    "diagnose --help",
    "diagnose",
    "diagnose nowhere",
    "effect --help",
    "effect --epss 2",
    "doctor --help",
    "doctor nowhere",
    "reproduce",
    "reproduce --help",
    "reproduce a11",
    "pretrain --help",
    "pretrain --ou x",
    "completion --help",
)
"""None of them starts anything."""
COUNT = """
import sys
from entrostat.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("\\n" + " ".join(sys.modules))
"""


def seconds(words: list[str]) -> float:
    """Processor time of one start."""
    begin = children()
    subprocess.run([sys.executable, *words], capture_output=True)
    return children() - begin


def children() -> float:
    """Processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imported(line: str) -> list[str]:
    """The modules that the command leaves behind."""
    done = subprocess.run([sys.executable, "-c", COUNT, *line.split()], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def measured(line: str, repeats: int) -> dict[str, Any]:
    """A row of the table."""
    modules = imported(line)
    empty, whole = [], []
    for _ in range(repeats):
        empty.append(seconds(["-c", "pass"]))
        whole.append(seconds(["-m", "entrostat", *line.split()]))
    return {
        "line": line,
        "modules": len(modules),
        "heavy": [name for name in HEAVY if name in modules],
        "seconds": round(min(whole), 3),
        "times_empty": round(min(whole) / min(empty), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measured(line, args.repeats) for line in LINES]
    if args.json:
        print(json.dumps(rows))
    else:
        print(f"{'entrostat':<26} {'modules':>7} {'seconds':>7} {'x empty':>7}  heavy")
        for row in rows:
            numbers = f"{row['modules']:>7} {row['seconds']:>7} {row['times_empty']:>7}"
            print(f"{row['line']:<26} {numbers}  {' '.join(row['heavy']) or '-'}")
    return 1 if any(row["heavy"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
