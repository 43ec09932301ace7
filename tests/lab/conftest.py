"""Small runs through the real command."""

import contextlib
import io
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from entrostat.cli import main

SMALL = [
    *("--steps", "6", "--prompts", "4", "--samples", "4", "--updates-per-rollout", "2"),
    *("--eval-problems", "4", "--eval-samples", "4", "--save-every", "2"),
]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `entrostat ...` in an empty folder: `run` in this process, `start` in one that can be killed, `kill` in one
    that is."""
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

    def wait_for(process, file, size=0, seconds=300.0):
        """Until the process has made a file of the folder larger than `size` bytes."""
        end = time.monotonic() + seconds
        path = tmp_path / file
        while not path.exists() or path.stat().st_size <= size:
            assert process.poll() is None, f"no {file}: {process.communicate()}"
            assert time.monotonic() < end, f"{file} did not come"
            time.sleep(0.005)

    def kill(*args, when, size=0):
        """A command that is killed when a file is larger than `size` bytes."""
        process = start(*args)
        wait_for(process, when, size)
        process.kill()
        process.communicate()

    def lines(folder, name="metrics.jsonl"):
        return [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()]

    def contents(folder, name="metrics.jsonl"):
        return (tmp_path / folder / name).read_bytes()

    return SimpleNamespace(
        run=run, start=start, wait_for=wait_for, kill=kill, lines=lines, bytes=contents, folder=tmp_path, small=SMALL
    )
