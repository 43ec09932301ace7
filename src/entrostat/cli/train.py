"""entrostat train."""

import contextlib
import dataclasses
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from entrostat.cli.words import (
    Resume,
    fail,
    method,
    one_process,
    parse,
    resumption,
    show,
)
from entrostat.files import is_taken
from entrostat.lab.methods import METHODS, Method


def train(args: list[str]) -> int:
    """`entrostat train`: the exit code. Of several ranks the first speaks, writes and has an exit code."""
    from entrostat.lab.ranks import ElsewhereError, is_lone, join

    if is_lone():
        fail(
            "warning: accelerate's --cpu has started one process; for several: accelerate launch --multi_gpu "
            "--num_processes 2, which needs no GPU (docs/engines.md)"
        )
    if not any(
        arg in METHODS or arg.startswith(("--resume", "--config")) for arg in args
    ):
        one_process()  # the demo: several runs
    ranks = join()
    if "--dry-run" in args:
        return ranks.first(lambda: _dry_run(args))
    try:
        return _run(*ranks.first(lambda: _prepare(args, ranks)), ranks)
    except ElsewhereError:
        return 0


def _prepare(args: list[str], ranks: Any) -> tuple[list[Any], Path, bool]:
    """The runs that the arguments name, new or not, the folder that holds them, and whether to answer in JSON."""
    if (again := resumption(args, "entrostat train")) is not None:
        return _existing(again, ranks), again.resume, again.json
    options, chosen = _parsed(args)
    ranks.share(options.run)
    runs, out = _new(options, chosen, ["entrostat", "train", *args])
    return runs, out, options.json


def _parsed(args: list[str]) -> tuple[Any, Method | None]:
    """The options and the method, those of a recipe beneath those that were typed."""
    from tyro.conf import OmitArgPrefixes

    from entrostat.lab.config import TrainConfig
    from entrostat.lab.recipe import RecipeFile, read_recipe

    at = next((i for i, arg in enumerate(args) if arg in METHODS), len(args))
    path = _option(args[:at], "--config")
    names = {field.name for field in dataclasses.fields(TrainConfig)} - {"grpo"}
    recipe = (
        read_recipe(Path(path), names) if path is not None else RecipeFile([], None, {})
    )

    @dataclasses.dataclass(frozen=True)
    class Train:
        run: OmitArgPrefixes[TrainConfig] = dataclasses.field(
            default_factory=lambda: TrainConfig(grpo=recipe.grpo)
        )
        config: Path | None = None
        """TOML file with the options of a run: recipes/trl. What is typed behind it, a method too, wins."""
        out: Annotated[Path | None, "folder"] = None
        """Folder of the run; runs/METHOD-seedS-TIME without it. It must not hold anything yet."""
        resume: Path | None = None
        """Folder of a run to go on with. Its options are its own: but --on-verifier-error none may be given."""
        dry_run: bool = False
        """Build all of the run but its weights, and say what it would be: a prompt, batches, memory, hours."""
        json: bool = False
        """Print the result as JSON."""

    Train.__doc__ = (
        "GRPO on TRL under an entropy strategy, or another method. Options of the run come first, then the method with "
        f"its own options (entrostat train METHOD --help). Methods: {', '.join(METHODS)}. Without one: grpo, "
        "clip-lower --low 0.02 and thermostat, side by side."
    )
    chosen = method(args[at], args[at + 1 :], "train") if at < len(args) else None
    if path is not None:
        with _naming(path):
            parse(Train, recipe.words, "entrostat train")
            chosen = chosen or (
                method(*recipe.method, "train") if recipe.method else None
            )
            if chosen is None:
                raise ValueError(
                    "no method: give [method] a name, or type one behind the options"
                )
    return parse(
        Train, [*recipe.words, *args[:at]], "entrostat train", list(METHODS)
    ), chosen


def _option(args: list[str], name: str) -> str | None:
    """The last value of an option that is read before the others."""
    found = None
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            found = args[i + 1]
        elif arg.startswith(f"{name}="):
            found = arg.partition("=")[2]
    return found


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Puts the file in front of what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _dry_run(args: list[str]) -> int:
    from entrostat.lab.dryrun import dry_run, shown

    options, chosen = _parsed(args)
    if chosen is None or options.resume is not None:
        raise ValueError(
            "--dry-run is of one new run: name a method, or a --config that does, and no --resume"
        )
    result = dry_run(options.run, chosen)
    show(result, shown(result), options.json)
    return 0


def _new(
    options: Any, chosen: Method | None, command: list[str]
) -> tuple[list[Any], Path]:
    from entrostat.lab.methods import as_arguments, make_method, method_name
    from entrostat.lab.train import new_run

    # low .02: the largest that keeps pass@32 on the lab's model, where the paper's .15 clips too few tokens to show
    # (docs/results/clip-lower.md)
    demo = [
        make_method("grpo"),
        make_method("clip-lower", low=0.02),
        make_method("thermostat"),
    ]
    methods = [chosen] if chosen else demo
    name = method_name(chosen).replace(":", "-") if chosen else "demo"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out = options.out or Path("runs") / f"{name}-seed{options.run.seed}-{stamp}"
    if chosen:
        runs = [new_run(options.run, chosen, out, shlex.join(command))]
    else:
        if is_taken(out):
            raise ValueError(
                f"{out} is not empty: choose another --out, or continue with --resume {out}"
            )
        runs = [
            new_run(
                options.run,
                m,
                out / f"{i}-{method_name(m)}",
                shlex.join([*command, *as_arguments(m)]),
            )
            for i, m in enumerate(methods, 1)
        ]
    return runs, out


def _existing(again: Resume, ranks: Any) -> list[Any]:
    from entrostat.lab.run import Run
    from entrostat.lab.train import on_verifier_error, read_run

    folder = again.resume
    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if (folder / "config.json").is_file() or not inner:
        runs = [Run.open(folder)]
        ranks.share(read_run(runs[0])[0])
    else:
        one_process()
        runs = [Run.open(path) for path in inner]
    if again.on_verifier_error is not None:
        for run in runs:
            on_verifier_error(run, again.on_verifier_error)
    return runs


def _run(runs: list[Any], folder: Path, as_json: bool, ranks: Any) -> int:
    from entrostat.lab.checkup import warn
    from entrostat.lab.show import Screen, result, table
    from entrostat.lab.side_by_side import train_all
    from entrostat.lab.watch import Watcher
    from entrostat.report import write_report

    if not ranks.is_first:
        with contextlib.suppress(KeyboardInterrupt):
            train_all(runs, [Watcher()], ranks)
        return 0
    warn(runs)
    done = False
    with contextlib.suppress(KeyboardInterrupt), Screen() as screen:
        done = train_all(runs, [screen.watcher(run) for run in runs], ranks)
    if not done:
        return fail(f"stopped; to go on: entrostat train --resume {folder}", code=130)
    page = write_report([run.path for run in runs], folder / "report.html")
    print(f"report: {page}", file=sys.stderr)
    show(result(runs) if len(runs) > 1 else result(runs)[0], table(runs), as_json)
    return 0
