"""entrostat train."""

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from entrostat.cli.words import (
    Resume,
    check_method,
    fail,
    is_one_of_many,
    method,
    new_folder,
    one_process,
    parse,
    resumption,
    show,
)
from entrostat.lab.find_model import find_model, is_path
from entrostat.lab.folders import check_new, check_run
from entrostat.lab.launched import is_lone
from entrostat.lab.method_registry import METHODS

if TYPE_CHECKING:
    from entrostat.lab.methods import Method

# Rooms of the lab are imported inside the functions: they load torch and TRL, which takes
# seconds, and other commands need neither.


class Asked(NamedTuple):
    """What the arguments ask for: to go on with a folder, or `options` and a method."""

    again: Resume | None
    options: Any = None
    method: "Method | None" = None
    """None: the demo."""


class Started(NamedTuple):
    """The runs that the arguments name, each with a folder."""

    runs: list[Any]
    folder: Path
    """That holds them; the folder of the run where it is one."""
    json: bool
    ground: Any = None
    """What the one new run was made from. It does not go from rank to rank: where there
    are several, each lays its own."""


def train(args: list[str]) -> int:
    """`entrostat train`: the exit code. Of several ranks the first speaks, writes and has
    an exit code."""
    if is_lone():
        fail(
            "warning: accelerate's --cpu has started one process; for several: accelerate "
            "launch --multi_gpu --num_processes 2, which needs no GPU (docs/engines.md)"
        )
    # a wrong argument is said before torch is imported; of several ranks the first says it
    asked = None if is_one_of_many() else _asked(args)
    from entrostat.lab.ranks import ElsewhereError, join

    # without a method it is the demo, which has several runs
    if not any(_names_a_run(arg) for arg in args):
        one_process()
    ranks = join()
    if "--dry-run" in args:
        return ranks.first(lambda: _dry_run(asked or _asked(args)))
    try:
        started = ranks.first(lambda: _start(asked or _asked(args), args, ranks))
        return _run(started, ranks)
    except ElsewhereError:
        # rank 0 says what went wrong
        return 0


def _asked(args: list[str]) -> Asked:
    """Raises ValueError, or ends after --help, for arguments that no run can have."""
    again = resumption(args, "entrostat train")
    if again is not None:
        if not _inner(again.resume):
            check_run(again.resume)
        return Asked(again)
    return Asked(None, *_parsed(args))


def _check_places(options: Any) -> None:
    """Raises ValueError for a folder that is taken, and for a model that is nowhere, where
    that can be known without a hub."""
    if options.out is not None and not options.dry_run:
        check_new(options.out)
    model = options.run.model
    on_hub = "/" in model and not is_path(model)
    if model and not on_hub and not Path(model).is_dir():
        find_model(model, "--model")


def _inner(folder: Path) -> list[Path]:
    """Folders of runs inside a folder that is none itself."""
    if (folder / "config.json").is_file():
        return []
    return sorted(path.parent for path in folder.glob("*/config.json"))


def _names_a_run(arg: str) -> bool:
    return arg in METHODS or arg.startswith(("--resume", "--config"))


def _start(asked: Asked, args: list[str], ranks: Any) -> Started:
    """Makes the folders of new runs, or opens those to go on with."""
    again, options, chosen = asked
    if again is not None:
        return Started(_existing(again, ranks), again.resume, again.json)
    ranks.share(options.run)
    command = ["entrostat", "train", *args]
    if chosen is None:
        return _demo(options, command)
    return _one(options, chosen, command, ranks)


# The arguments


def _parsed(args: list[str]) -> "tuple[Any, Method | None]":
    """The options and the method: those of a recipe file, and what was typed, which
    wins."""
    from entrostat.lab.config import GROUPS, TrainConfig
    from entrostat.lab.recipe import RecipeFile, read_recipe

    # the method divides the options of the run from its own
    at = next((i for i, arg in enumerate(args) if arg in METHODS), len(args))
    typed, method_words = args[:at], args[at:]
    recipe = RecipeFile([], None, {})
    path = _option(typed, "--config")
    if path is not None:
        names = {field.name for field in dataclasses.fields(TrainConfig)}
        # the table [trl] is the one place for these
        names.remove("grpo")
        recipe = read_recipe(Path(path), names)
    options = train_options(recipe.grpo)
    if path is not None:
        with _naming(path):
            # the file alone first, so that its errors name it
            parse(options, recipe.words, "entrostat train")
    words = [*recipe.words, *typed]
    run = parse(options, words, "entrostat train", list(METHODS), GROUPS)
    if method_words:
        check_method(method_words[0], method_words[1:], "train")
    # the last that needs no torch: the method itself does
    _check_places(run)
    if method_words:
        return run, method(method_words[0], method_words[1:], "train")
    if path is None:
        return run, None
    with _naming(path):
        return run, _recipes_method(recipe.method)


def train_options(grpo: Any) -> type[Any]:
    """The class of the command's options; `grpo`: those of TRL that no option has."""
    from tyro.conf import OmitArgPrefixes

    from entrostat.lab.config import TrainConfig

    @dataclasses.dataclass(frozen=True)
    class Train:
        run: OmitArgPrefixes[TrainConfig] = dataclasses.field(
            default_factory=lambda: TrainConfig(grpo=grpo)
        )
        config: Path | None = None
        """TOML file with the options of a run, a recipe: recipes/trl.
        What is typed behind it, a method too, wins."""
        out: Annotated[Path | None, "folder"] = None
        """Folder of the run; runs/METHOD-seedS-TIME without it.
        It must not hold anything yet."""
        resume: Path | None = None
        """Folder of a run to go on with.
        It keeps its options: only --on-verifier-error may be given."""
        dry_run: bool = False
        """Build all of the run but its weights, and say what it would be:
        a prompt, batches, memory, hours."""
        json: bool = False
        """Print the result as JSON."""

    Train.__doc__ = (
        "GRPO on TRL under an entropy strategy, or another method. Options of the run come "
        "first, then the method with its own options (entrostat train METHOD --help). "
        f"Methods: {', '.join(METHODS)}. Without one: grpo, clip-lower --low 0.02 and "
        "thermostat, side by side."
    )
    return Train


def _recipes_method(words: tuple[str, list[str]] | None) -> "Method":
    """The method of a recipe file."""
    if words is None:
        raise ValueError(
            "no method: give [method] a name, or type one behind the options"
        )
    name, options = words
    return method(name, options, "train")


def _option(args: list[str], name: str) -> str | None:
    """The last value of an option that is read before the others."""
    value = None
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            value = args[i + 1]
        elif arg.startswith(f"{name}="):
            value = arg.partition("=")[2]
    return value


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Puts the file in front of what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# The runs


def _dry_run(asked: Asked) -> int:
    """Says what the run would be, and writes nothing."""
    from entrostat.lab.dryrun import dry_run, shown

    # --resume takes no --dry-run beside it
    _, options, chosen = asked
    if chosen is None:
        raise ValueError(
            "--dry-run is of one new run: name a method, or a --config that does, "
            "and no --resume"
        )
    result = dry_run(options.run, chosen)
    show(result, shown(result), options.json)
    return 0


def _one(options: Any, chosen: "Method", command: list[str], ranks: Any) -> Started:
    """One new run."""
    from entrostat.lab.methods import method_name
    from entrostat.lab.train import begin, prepare

    name = method_name(chosen).replace(":", "-")
    out = options.out or new_folder(f"{name}-seed{options.run.seed}")
    ground = prepare(options.run, chosen)
    run = begin(ground, out, shlex.join(command))
    return Started([run], out, options.json, ground if ranks.size == 1 else None)


def _demo(options: Any, command: list[str]) -> Started:
    """Three runs that are worth a look side by side."""
    from entrostat.lab.methods import as_arguments, make_method, method_name
    from entrostat.lab.train import new_run

    # low 0.02: the largest that keeps pass@32 on the lab's model, where the paper's 0.15
    # clips too few tokens to show (docs/results/clip-lower.md)
    methods = [
        make_method("grpo"),
        make_method("clip-lower", low=0.02),
        make_method("thermostat", hold="both", target="0.8x"),
    ]
    out = options.out or new_folder(f"demo-seed{options.run.seed}")
    check_new(out)
    runs = []
    for number, chosen in enumerate(methods, 1):
        folder = out / f"{number}-{method_name(chosen)}"
        alone = shlex.join([*command, *as_arguments(chosen)])
        runs.append(new_run(options.run, chosen, folder, alone))
    return Started(runs, out, options.json)


def _existing(again: Resume, ranks: Any) -> list[Any]:
    """The run in the folder, or the runs in folders inside it."""
    from entrostat.lab.run import Run
    from entrostat.lab.train import on_verifier_error, read_run

    folder = again.resume
    inner = _inner(folder)
    if not inner:
        runs = [Run.open(folder)]
        config, _method = read_run(runs[0])
        ranks.share(config)
    else:
        one_process()
        runs = [Run.open(path) for path in inner]
    if again.on_verifier_error is not None:
        for run in runs:
            on_verifier_error(run, again.on_verifier_error)
    return runs


def _run(started: Started, ranks: Any) -> int:
    """Trains the runs to their end, and shows the result on rank 0."""
    from entrostat.lab.checkup import warn
    from entrostat.lab.show import Screen, result, table
    from entrostat.lab.side_by_side import train_all
    from entrostat.lab.watch import Watcher
    from entrostat.report import write_report

    runs, folder = started.runs, started.folder
    if not ranks.is_first:
        with contextlib.suppress(KeyboardInterrupt):
            train_all(runs, [Watcher()], ranks)
        return 0
    warn(runs)
    done = False
    with contextlib.suppress(KeyboardInterrupt), Screen() as screen:
        watchers = [screen.watcher(run) for run in runs]
        done = train_all(runs, watchers, ranks, started.ground)
    if not done:
        return fail(f"stopped; to go on: entrostat train --resume {folder}", code=130)
    # one page of this folder: nothing to share
    page = write_report([run.path for run in runs], folder / "report.html", inline=True)
    print(f"report: {page}", file=sys.stderr)
    results = result(runs)
    answer = results if len(runs) > 1 else results[0]
    show(answer, table(runs), started.json)
    return 0
