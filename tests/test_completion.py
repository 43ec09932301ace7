"""The scripts of `entrostat completion`, in the shells that they are for."""

import dataclasses
import os
import shutil
import subprocess

import pytest

from entrostat.cli import COMMANDS, main
from entrostat.cli.completion import option_classes, script, table
from entrostat.lab.config import TrainConfig
from entrostat.lab.method_registry import METHODS
from entrostat.reproduce.claims import claim_names


def completed(tmp_path, line):
    """What bash offers at the end of the line, as it does at a Tab."""
    (tmp_path / "completion").write_text(script("bash"))
    # bash splits words at colons before it asks
    words = line.replace(":", " : ").split()
    if line.endswith(" "):
        words.append("")
    quoted = " ".join(f"'{word}'" for word in words)
    commands = f"""
        source {tmp_path}/completion
        COMP_WORDBREAKS=$' \\t\\n"><=;|&(:'
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
        _entrostat entrostat
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", commands], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def completed_by_fish(tmp_path, line):
    """What fish offers at the end of the line, in its own completion."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "completion").write_text(script("fish"))
    commands = f"source {tmp_path}/completion; complete -C {line!r}"
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = ["fish", "--no-config", "-c", commands]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=home, cwd=tmp_path)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("entrostat tra", ["train"]),
        ("entrostat train --ste", ["--steps"]),
        ("entrostat train --steps 3 thermostat --targ", ["--target"]),
        ("entrostat train trl:gs", ["trl:gspo"]),
        ("entrostat train --loss-type dr", ["dr_grpo"]),
        ("entrostat report --x ", ["steps", "time", "tokens"]),
        ("entrostat completion f", ["fish"]),
        # files, where nothing is offered
        ("entrostat train --out comp", ["completion"]),
        ("entrostat report comp", ["completion"]),
    ],
)
def test_fish_offers_what_can_follow(tmp_path, line, offered):
    assert completed_by_fish(tmp_path, line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("entrostat tra", ["train"]),
        ("entrostat di", ["diagnose"]),
        ("entrostat train --ste", ["--steps"]),
        ("entrostat train thermo", ["thermostat"]),
        ("entrostat train --steps 3 thermostat --targ", ["--target"]),
        ("entrostat train trl:gs", ["gspo"]),  # bash has the word from its last colon on
        ("entrostat train --loss-type dr", ["dr_grpo"]),
        ("entrostat report --x ", ["steps", "tokens", "time"]),
        ("entrostat compare id clip-l", ["clip-lower"]),
        ("entrostat reproduce c", claim_names()[-1:]),
        ("entrostat completion z", ["zsh"]),
        # files, which bash itself completes where nothing is offered
        ("entrostat train --out ", []),
        ("entrostat report run", []),
    ],
)
def test_bash_offers_what_can_follow(tmp_path, line, offered):
    assert completed(tmp_path, line) == offered


def test_all_commands_are_offered(tmp_path):
    assert set(completed(tmp_path, "entrostat ")) == {*COMMANDS, "--help", "--version"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(tmp_path, shell, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    file = tmp_path / "completion"
    file.write_text(capsys.readouterr().out)
    done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_has_the_same_words(tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "completion").write_text(script("zsh"))
    ask = f"compdef() {{}}; source {tmp_path}/completion; _entrostat_after entrostat train thermostat"
    done = subprocess.run(["zsh", "-f", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == table()["train thermostat"]


def test_every_command_and_method_has_its_options():
    assert list(option_classes()) == list(COMMANDS)
    for name in METHODS:
        assert offered(f"train {name}") == {"--help", *names(METHODS[name])}
    assert offered("train") > names(TrainConfig) - {"--grpo"}


def offered(typed):
    """The words behind what was typed; a flag that is on is offered as the one that switches it off."""
    return {word.replace("--no-", "--") for word in table()[typed]}


def names(kind):
    return {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(kind)}


def test_a_flag_that_is_on_is_switched_off():
    assert "--no-upper-dynamic" in table()["train dynamic"]


def test_nothing_in_the_script_is_more_than_a_word():
    """The words stand in double quotes."""
    for typed, words in table().items():
        for word in [*typed.split(), *words]:
            assert all(letter.isalnum() or letter in "-_:@." for letter in word), word


def test_a_shell_that_is_not_known_is_refused(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err
