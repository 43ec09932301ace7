"""Small runs through the real command."""

import contextlib
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from entrostat.cli import main

SMALL = [
    *("--steps", "6", "--prompts", "4", "--samples", "4", "--updates-per-rollout", "2"),
    *("--eval-problems", "4", "--eval-samples", "4", "--save-every", "2"),
]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `entrostat ...` in an empty folder: `run` in this process, `start` in one that can be killed."""
    monkeypatch.chdir(tmp_path)

    def run(*args, code=0):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            returned = main([str(arg) for arg in args])
        assert returned == code, err.getvalue()
        return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())

    def start(*args):
        command = [sys.executable, "-m", "entrostat", *map(str, args)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def lines(folder, name="metrics.jsonl"):
        return [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()]

    return SimpleNamespace(run=run, start=start, lines=lines, folder=tmp_path, small=SMALL)
