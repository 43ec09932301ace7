"""Small runs through the real command."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

SMALL = [
    *("--steps", "6", "--prompts", "4", "--samples", "4", "--updates-per-rollout", "2"),
    *("--eval-problems", "4", "--eval-samples", "4", "--save-every", "2"),
]


@pytest.fixture
def command(tmp_path):
    """Runs `entrostat ...` as its user does, in an empty folder."""

    def arguments(*args):
        return [sys.executable, "-m", "entrostat", *map(str, args)]

    def run(*args, code=0, **options):
        done = subprocess.run(
            arguments(*args), capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL, **options
        )
        assert done.returncode == code, done.stderr
        return done

    def start(*args):
        return subprocess.Popen(
            arguments(*args), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def lines(folder, name="metrics.jsonl"):
        return [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()]

    return SimpleNamespace(run=run, start=start, lines=lines, folder=tmp_path, small=SMALL)
