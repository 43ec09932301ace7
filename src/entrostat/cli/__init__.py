"""The command line: one function per command, main(argv) -> exit code.

stdout carries the result, stderr the log and the progress. Exit 0: fine; 1: a finding;
2: bad input; 130: Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import entrostat
from entrostat.cli.words import fail, one_line
from entrostat.lazy import load
from entrostat.texts import near


class Command(NamedTuple):
    """What is typed behind `entrostat`."""

    path: str
    """"module:function", from its arguments to the exit code; imported when it is
    typed."""
    what: str
    """A line of the help."""


COMMANDS = {
    "train": Command(
        "entrostat.cli.train:train",
        "train under an entropy strategy; with no argument, grpo, clip-lower and "
        "thermostat in one table",
    ),
    "compare": Command(
        "entrostat.cli.compare:compare",
        "methods on the same problems over seeds, in one table; settings chosen on "
        "validation problems",
    ),
    "evaluate": Command(
        "entrostat.cli.evaluate:evaluate",
        "score a model on held-out problems: mean@k, pass@k, entropy",
    ),
    "report": Command(
        "entrostat.cli.others:report", "write the HTML page of one or more runs"
    ),
    "diagnose": Command(
        "entrostat.cli.others:diagnose",
        "why entropy moved, token by token, from the dumps of a run, and what would have "
        "held it",
    ),
    "effect": Command(
        "entrostat.cli.effect:effect",
        "what a clip setting alone does to entropy in a rollout: paired branches, odd and "
        "even part",
    ),
    "doctor": Command(
        "entrostat.cli.others:doctor",
        "settings of a TRL or verl run that do nothing, or something else than they say",
    ),
    "reproduce": Command(
        "entrostat.cli.others:reproduce",
        "check the papers' claims: a number and a verdict each; with no argument, their "
        "list",
    ),
    "pretrain": Command(
        "entrostat.cli.others:pretrain", "make a task's tiny base model again"
    ),
    "completion": Command(
        "entrostat.cli.completion:completion",
        "print what completes this command line in bash, zsh or fish",
    ),
}


def script() -> None:
    """The entry point of the installed command."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the answer has stopped, as `head` does; what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0
    if args[0] == "--version":
        print(entrostat.__version__)
        return 0
    command, *rest = args
    if command not in COMMANDS:
        return fail(f"unknown command {command!r}: {near(command, COMMANDS)}")
    try:
        run = load(COMMANDS[command].path)
        return run(rest)
    except ImportError as error:
        # the core alone is installed
        return fail(f"{error}: pip install 'entrostat[train]'")
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        return fail(one_line(error))
    except KeyboardInterrupt:
        return fail("stopped", code=130)


def _help() -> str:
    """The list of commands."""
    lines = ["usage: entrostat COMMAND [options]", ""]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<10} {command.what}")
    lines += ["", "entrostat COMMAND --help says more."]
    return "\n".join(lines)
