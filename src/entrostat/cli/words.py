"""Words of the command line: how they are parsed, and how an answer or an error is
said."""

import dataclasses
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from entrostat.cli.help import Groups, captured, help_text, option_names
from entrostat.cli.refusals import refusal
from entrostat.lab.method_registry import METHODS
from entrostat.lab.options import option
from entrostat.texts import did_you_mean
from entrostat.unloaded import unloaded

if TYPE_CHECKING:
    from entrostat.lab.methods import Method

_WIDTH = 120
"""Of a table that goes to no terminal."""


# Answers and errors


def fail(message: str, code: int = 2) -> int:
    """Says on stderr what went wrong; the exit code."""
    print(f"entrostat: {message}", file=sys.stderr)
    return code


def one_line(error: Exception) -> str:
    """What the error says, with no line break, and nothing in it that a terminal would act
    on."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def show(data: Any, shown: Any, as_json: bool) -> None:
    """The answer on stdout: `data` as one JSON object, or `shown`, which rich can print."""
    if as_json:
        print(json.dumps(data))
        return
    # rich takes a moment to import, and --json does not need it
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH
    Console(width=width).print(shown)


# Arguments


def parse(
    kind: Callable[..., Any],
    args: list[str],
    prog: str,
    words: Sequence[str] = (),
    groups: Groups = MappingProxyType({}),
) -> Any:
    """tyro's parse of `args`; for --help the help, in these groups.

    ValueError, one line, for what tyro refuses; it names the near options, or the near
    ones of `words` for a stray word.
    """
    import tyro

    if "-h" in args or "--help" in args:
        print(help_text(kind, prog, groups))
        raise SystemExit(0)
    _check_options(kind, args, prog)
    with captured() as printed:
        try:
            return tyro.cli(
                kind, args=args, prog=prog, config=(tyro.conf.FlagCreatePairsOff,)
            )
        except SystemExit:
            text = printed()
    raise ValueError(refusal(text, words))


def _check_options(kind: Any, args: list[str], prog: str) -> None:
    """Raises ValueError for an option that there is not, naming near ones."""
    for arg in _unknown_options(kind, args):
        typed = arg.partition("=")[0]
        close = did_you_mean(typed, _known_options(kind)).strip()
        raise ValueError(
            f"unknown option {typed!r}: {close or f'{prog} --help lists them'}"
        )


def _unknown_options(kind: Any, args: list[str]) -> Iterator[str]:
    """The arguments that look like an option, and are none of `kind`."""
    known = set(_known_options(kind))
    for arg in args:
        typed = arg.partition("=")[0]
        # a flag that is on by default is switched off by --no-
        positive = typed.replace("--no-", "--", 1)
        if typed.startswith("--") and not {typed, positive} & known:
            yield arg


def _known_options(kind: Any) -> list[str]:
    return [option(name) for name in option_names(kind)]


def method(name: str, args: list[str], command: str) -> "Method":
    """The method of that name, its options from `args`. ValueError for a name or an option
    that there is not."""
    check_method(name, args, command)
    return parse(METHODS.kind(name), args, f"entrostat {command} {name}")


def check_method(name: str, args: list[str], command: str) -> None:
    """Raises ValueError for a method that there is not, or for an option or a value that
    is none of its own; ends after --help. The method is not imported."""
    kind = unloaded(METHODS.path(name))
    for arg in _unknown_options(kind, args):
        if arg.partition("=")[0] in _run_options():
            raise ValueError(
                f"{arg} is an option of the run, and those come before the method: "
                f"entrostat {command} {arg} ... {name}"
            )
    parse(kind, args, f"entrostat {command} {name}")


def _run_options() -> set[str]:
    """The options that every run has."""
    from entrostat.lab.config import TrainConfig

    others = {"--out", "--config", "--json", "--dry-run", "--seeds"}
    return {*_known_options(TrainConfig), *others}


def split_word(word: str) -> list[str]:
    """A method with its options, which are one word of the command line, as words of
    their own."""
    try:
        words = shlex.split(word)
        if not words:
            raise ValueError("it is empty")
    except ValueError as error:
        raise ValueError(f"{word!r} is no method with its options ({error})") from None
    return words


@dataclasses.dataclass(frozen=True)
class Resume:
    """Goes on with what its folder holds, by its own options."""

    resume: Path
    """The folder."""
    on_verifier_error: Literal["stop", "skip"] | None = None
    """In place of what the run was told, where the verifier hangs or dies on a completion:
    stop the run, or skip the completion, which then has no reward."""
    json: bool = False
    """Print the result as JSON."""


def resumption(args: list[str], prog: str) -> Resume | None:
    """What `--resume` asks for; None where it is not among the arguments. ValueError for
    other options beside it."""
    if not any(arg.partition("=")[0] == "--resume" for arg in args):
        return None
    try:
        return parse(Resume, args, prog)
    except ValueError as error:
        raise ValueError(
            "--resume takes no other option but --on-verifier-error and --json, "
            f"its own are kept ({error})"
        ) from None


# Where a command runs


def new_folder(name: str) -> Path:
    """Where a command writes to without --out: runs/NAME-TIME."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def is_one_of_many() -> bool:
    """Whether the command was started as one of several ranks."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def one_process() -> None:
    """ValueError where the command was started as one of several ranks."""
    if is_one_of_many():
        raise ValueError(
            "this command works in one process, got WORLD_SIZE over 1: under accelerate "
            "or torchrun give train a method, entrostat train METHOD (docs/engines.md)"
        )
