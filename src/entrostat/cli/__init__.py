"""The command line: one function per command, main(argv) -> exit code.

stdout carries the result, stderr the log and the progress. Exit 0: fine; 1: a finding;
2: bad input; 130: Ctrl-C.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import entrostat
from entrostat.cli.compare import compare
from entrostat.cli.effect import effect
from entrostat.cli.evaluate import evaluate
from entrostat.cli.others import diagnose, doctor, pretrain, report, reproduce
from entrostat.cli.train import train
from entrostat.cli.words import fail, one_line
from entrostat.texts import near


class Command(NamedTuple):
    """What is typed behind `entrostat`."""

    run: Callable[[list[str]], int]
    """From its arguments to the exit code."""
    what: str
    """A line of the help."""


COMMANDS = {
    "train": Command(
        train,
        "train under an entropy strategy; with no argument, grpo, clip-lower and "
        "thermostat in one table",
    ),
    "compare": Command(
        compare,
        "methods on the same problems over seeds, in one table; settings chosen on "
        "validation problems",
    ),
    "evaluate": Command(
        evaluate, "score a model on held-out problems: mean@k, pass@k, entropy"
    ),
    "report": Command(report, "write the HTML page of one or more runs"),
    "diagnose": Command(
        diagnose,
        "why entropy moved, token by token, from the dumps of a run, and what would have "
        "held it",
    ),
    "effect": Command(
        effect,
        "what a clip setting alone does to entropy in a rollout: paired branches, odd and "
        "even part",
    ),
    "doctor": Command(
        doctor,
        "settings of a TRL or verl run that do nothing, or something else than they say",
    ),
    "reproduce": Command(
        reproduce,
        "check the papers' claims: a number and a verdict each; with no argument, their "
        "list",
    ),
    "pretrain": Command(pretrain, "make a task's tiny base model again"),
}


def script() -> None:
    """The entry point of the installed command."""
    sys.exit(main())


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
        return COMMANDS[command].run(rest)
    except ImportError as error:
        # the core alone is installed
        return fail(f"{error}: pip install 'entrostat[train]'")
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
