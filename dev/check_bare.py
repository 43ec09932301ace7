"""Runs each command of an entrostat that has none of its extras: it has to say so in one line.

Its argument is the path of that entrostat.
"""

import subprocess
import sys

WITHOUT_EXTRAS = [["--help"], ["--version"]]
NEED_AN_EXTRA = [
    ["train", "grpo"],
    ["compare", "grpo"],
    ["evaluate", "folder"],
    ["report", "folder"],
    ["diagnose", "folder"],
    ["doctor", "run.sh"],
    ["effect"],
    ["reproduce", "a1"],
    ["pretrain", "chain"],
    ["completion", "bash"],
]


def wrong(command: list[str], exit_code: int) -> str | None:
    """What is wrong about a command's end, or None."""
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    if done.returncode != exit_code:
        return f"{command}: exit code {done.returncode}, wanted {exit_code}: {done.stderr}"
    if exit_code and (len(lines) != 1 or "pip install 'entrostat[" not in lines[0]):
        return f"{command}: wanted one line that names an extra, got {lines}"
    return None


def main() -> int:
    entrostat = sys.argv[1]
    found = [wrong([entrostat, *words], 0) for words in WITHOUT_EXTRAS]
    found += [wrong([entrostat, *words], 2) for words in NEED_AN_EXTRA]
    faults = [fault for fault in found if fault]
    print("\n".join(faults) or f"{len(found)} commands checked", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
