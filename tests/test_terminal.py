"""The command line in a real terminal (a pty): errors in one line without escape codes, and no torch before it is
needed."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from entrostat.lab.config import GROUPS, TrainConfig

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "trl", "datasets", "plotly", "pandas", "pyarrow")


def in_a_terminal(*words, columns=80, **variables):
    """(exit code, all that a terminal of so many columns is sent) of entrostat."""
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (30, columns))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **variables}
    command = [sys.executable, "-m", "entrostat", *words]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=environment, close_fds=True) as process:
        os.close(there)
        sent = b""
        while True:
            try:
                part = os.read(here, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            sent += part
        code = process.wait()
    os.close(here)
    return code, sent.decode()


MISTYPED = [
    (["train", "--stepss", "3", "grpo"], "unknown option '--stepss': did you mean --steps"),
    (["train", "grpoo"], "unknown method 'grpoo': did you mean grpo?"),
    (["train", "--steps", "three", "grpo"], "--steps must be a whole number, got 'three'"),
    (["train", "grpo", "--steps", "5"], "--steps is an option of the run, and those come before the method"),
    (["compare", "--seedss", "3"], "unknown option '--seedss': did you mean --seeds"),
    (["evaluate", "--problem", "3", "x"], "unknown option '--problem': did you mean --problems"),
    (["report", "--outt", "x"], "unknown option '--outt': did you mean --out"),
    (["diagnose", "--htm", "x"], "unknown option '--htm': did you mean --html"),
    (["doctor", "--strateg", "x"], "unknown option '--strateg': did you mean --strategy"),
    (["reproduce", "--al"], "unknown option '--al': did you mean --all"),
    (["effect", "--epss", "0.2"], "unknown option '--epss': did you mean --eps"),
    (["pretrain", "--ou", "x"], "unknown option '--ou': did you mean --out"),
    (["completion", "tcsh"], "shell can't be 'tcsh': did you mean zsh or fish or bash?"),
    (["trian"], "unknown command 'trian': did you mean train or pretrain?"),
]


@pytest.mark.parametrize(("words", "said"), MISTYPED, ids=[" ".join(words) for words, _ in MISTYPED])
def test_a_mistyped_word_is_one_plain_line(words, said):
    for columns, variables in ((80, {}), (140, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})):
        code, sent = in_a_terminal(*words, columns=columns, **variables)
        assert code == 2
        assert "\x1b" not in sent
        assert sent.startswith("entrostat: ")
        assert said in sent
        assert sent.count("\n") == 1
        # three near names, not all of them
        assert "known:" not in sent


def test_help_flows_at_any_width_and_has_its_groups():
    for columns in (80, 140):
        code, sent = in_a_terminal("train", "--help", columns=columns)
        assert code == 0
        assert "\x1b" not in sent
        lines = sent.splitlines()
        assert all(len(line) <= columns for line in lines)
        titles = [line.split("─ ")[1].split(" ─")[0] for line in lines if line.startswith("╭")]
        assert titles == ["options", *GROUPS]
        first = sent[: sent.index("╭─ loss")]
        for name in ("--steps", "--learning-rate", "--task", "--model", "--engine", "--out", "--resume"):
            assert name in first
        assert "--grpo" not in sent


def test_every_group_is_of_options_that_there_are():
    names = [name for names in GROUPS.values() for name in names]
    assert len(names) == len(set(names))
    assert set(names) < set(TrainConfig.__dataclass_fields__)


LIGHT = [
    *(["--help"], ["--version"], ["trian"], ["train", "--help"], ["train", "grpoo"], ["train", "--steps", "0", "grpo"]),
    *(["compare", "--help"], ["compare", "--seedss", "3"], ["evaluate", "--help"], ["report", "--help"]),
    *(["diagnose", "--help"], ["diagnose", "nowhere"], ["doctor", "--help"], ["doctor", "nowhere.sh"]),
    *(
        ["reproduce", "--help"],
        ["reproduce", "--al"],
        ["reproduce"],
        ["reproduce", "a11"],
        ["reproduce", "--all", "a1"],
    ),
    *(["reproduce", "a1", "--seeds", "1"], ["effect", "--help"], ["effect", "--epss", "2"], ["effect", "--eps", "3"]),
    *(
        ["effect"],
        ["effect", "grpoo", "grpo"],
        ["effect", "grpo --targt 3", "grpo"],
        ["effect", "--eps", "0.1", "--rollouts", "3"],
    ),
    *(
        ["pretrain", "--help"],
        ["pretrain"],
        ["pretrain", "--out", "x", "--task", "countdwn"],
        ["pretrain", "--out", "src"],
    ),
    *(["train", "grpo", "--help"], ["train", "grpo", "--targt", "3"], ["train", "trl:gspo", "--low", "much"]),
    *(["train", "grpo", "--steps", "5"], ["train", "--out", "src", "grpo"], ["train", "--model", "/nowhere", "grpo"]),
    *(["train", "--resume", "nowhere"], ["compare", "--resume", "nowhere"], ["compare", "grpoo"]),
    *(["compare", "id --phse 3"], ["compare", "--out", "src", "grpo"], ["evaluate", "nowhere"], ["report", "nowhere"]),
    *(["completion", "--help"], ["completion", "tcsh"]),
    *(["train", "thermostat", "--rate", "7"], ["train", "grpo", "--low", "-3"], ["train", "trl:gspo", "--low", "-1"]),
    *(["train", "objective:entrocraft", "--band-low", "3"], ["effect", "grpo --low -3", "grpo"]),
    *(["compare"], ["compare", "id --first-phase 2"], ["compare", "--seeds", "0", "grpo"], ["diagnose"]),
    *(["diagnose", "src", "--responses", "0"], ["reproduce", "--render", "src"], ["reproduce", "--json", "a11"]),
]
"""None of them starts anything, in the folder of the repository."""


@pytest.mark.parametrize("words", LIGHT, ids=[" ".join(words) for words in LIGHT])
def test_help_and_errors_load_nothing_heavy(words):
    code = (
        "import sys\nfrom entrostat.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_a_reader_that_stops_is_no_error():
    command = f"{sys.executable} -m entrostat train --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("usage: entrostat train")
    assert done.stderr == ""
