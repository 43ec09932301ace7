"""Words of the command line: how they are parsed, and how an answer or an error is said."""

import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from entrostat.lab.methods import METHODS, Method
from entrostat.texts import near


def fail(message: str, code: int = 2) -> int:
    """Says on stderr what went wrong; the exit code."""
    print(f"entrostat: {message}", file=sys.stderr)
    return code


def one_line(error: Exception) -> str:
    """What the error says, with no line break, and nothing in it that a terminal would act on."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def parse(
    kind: Callable[..., Any], args: list[str], prog: str, words: Sequence[str] = ()
) -> Any:
    """tyro's parse of `args`, its error as one line that names near options, or near `words` for a stray word."""
    import tyro

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                kind, args=args, prog=prog, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        text = " ".join(re.sub(r"[╭╮╰╯│─]+|-{3,}", " ", printed.getvalue()).split())
        raise ValueError(_parse_error(text, kind, words)) from None


def _parse_error(text: str, kind: Callable[..., Any], words: Sequence[str]) -> str:
    stray = re.search(r"Unrecognized options: (\S+?),? ", text + " ")
    if stray is None:
        said = re.split(r" For full helptext| Arguments similar", text)[0]
        # a ValueError of the dataclass itself says all
        return re.sub(r"^Value error Error parsing \w+: ", "", said)
    word = stray.group(1)
    if word.startswith("-"):
        known = [f"--{name.replace('_', '-')}" for name in _option_names(kind)]
        return f"unknown option {word!r}: {near(word, known)}"
    return (
        f"unknown method {word!r}: {near(word, words)}"
        if words
        else f"{word!r} is one argument too many"
    )


def _option_names(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        names: list[str] = []
        for field in dataclasses.fields(kind):
            inner = getattr(field.type, "__origin__", field.type)
            names += (
                _option_names(inner)
                if dataclasses.is_dataclass(inner)
                else [field.name]
            )
        return names
    return []


@dataclasses.dataclass(frozen=True)
class Resume:
    """Goes on with what its folder holds, by its own options."""

    resume: Path
    """The folder."""
    on_verifier_error: Literal["stop", "skip"] | None = None
    """In place of what was said before: a completion that the verifier hangs or dies on stops the run, or is left
    without a reward."""
    json: bool = False
    """Print the result as JSON."""


def resumption(args: list[str], prog: str) -> Resume | None:
    """What `--resume` asks for; None where it is not among the arguments. ValueError for other options beside it."""
    if not any(arg == "--resume" or arg.startswith("--resume=") for arg in args):
        return None
    try:
        return parse(Resume, args, prog)
    except ValueError as error:
        raise ValueError(
            f"--resume takes no other option but --on-verifier-error and --json, its own are kept ({error})"
        ) from None


def method(name: str, args: list[str], command: str) -> Method:
    """The method of that name, its options from `args`. ValueError for a name or an option that there is not."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: {near(name, METHODS)}")
    return parse(METHODS[name], args, f"entrostat {command} {name}")


def show(data: Any, shown: Any, as_json: bool) -> None:
    """The answer on stdout: `data` as one JSON object, or what rich can print."""
    if as_json:
        print(json.dumps(data))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(shown)


def one_process() -> None:
    """ValueError where the command was started as one of several ranks."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "this command works in one process, got WORLD_SIZE over 1: under accelerate or torchrun give train a "
            "method, entrostat train METHOD (docs/engines.md)"
        )
