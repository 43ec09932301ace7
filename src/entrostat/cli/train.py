"""entrostat train."""

import contextlib
import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from entrostat.cli.words import fail, method, one_process, parse, show
from entrostat.lab.methods import METHODS, Method


def train(args: list[str]) -> int:
    """`entrostat train`: the exit code. Of several ranks the first speaks, writes and has an exit code."""
    from entrostat.lab.ranks import ElsewhereError, is_lone, join

    if is_lone():
        fail(
            "warning: accelerate's --cpu has started one process; for several: accelerate launch --multi_gpu "
            "--num_processes 2, which needs no GPU (docs/engines.md)"
        )
    if not any(arg in METHODS or arg.startswith("--resume") for arg in args):
        one_process()  # the demo: several runs
    ranks = join()
    try:
        return _run(*ranks.first(lambda: _prepare(args, ranks)), ranks)
    except ElsewhereError:
        return 0


def _prepare(args: list[str], ranks: Any) -> tuple[list[Any], Path, bool]:
    """The runs that the arguments name, new or not, the folder that holds them, and whether to answer in JSON."""
    from tyro.conf import OmitArgPrefixes

    from entrostat.lab.config import TrainConfig

    @dataclasses.dataclass(frozen=True)
    class Train:
        config: OmitArgPrefixes[TrainConfig] = dataclasses.field(default_factory=TrainConfig)
        out: Annotated[Path | None, "folder"] = None
        """Folder of the run; runs/METHOD-seedS-TIME without it. It must not hold anything yet."""
        resume: Path | None = None
        """Folder of a run to go on with. Its options are its own: no others may be given."""
        json: bool = False
        """Print the result as JSON."""

    Train.__doc__ = (
        "GRPO on TRL under an entropy strategy, or another method. Options of the run come first, then the method with "
        f"its own options (entrostat train METHOD --help). Methods: {', '.join(METHODS)}. Without one: grpo, "
        "clip-lower --low 0.02 and thermostat, side by side."
    )
    at = next((i for i, arg in enumerate(args) if arg in METHODS), len(args))
    chosen = method(args[at], args[at + 1 :], "train") if at < len(args) else None
    options = parse(Train, args[:at], "entrostat train", list(METHODS))
    if options.resume is not None:
        if chosen is not None or dataclasses.replace(options, resume=None, json=False) != Train():
            raise ValueError("--resume takes no other option: a run goes on with its own")
        return _existing(options.resume, ranks), options.resume, options.json
    ranks.share(options.config)
    runs, out = _new(options, chosen, ["entrostat", "train", *args])
    return runs, out, options.json


def _new(options: Any, chosen: Method | None, command: list[str]) -> tuple[list[Any], Path]:
    from entrostat.lab.methods import as_arguments, make_method, method_name
    from entrostat.lab.train import new_run

    # low .02: the largest that keeps pass@32 on the lab's model, where the paper's .15 clips too few tokens to show
    # (docs/results/clip-lower.md)
    demo = [make_method("grpo"), make_method("clip-lower", low=0.02), make_method("thermostat")]
    methods = [chosen] if chosen else demo
    name = method_name(chosen).replace(":", "-") if chosen else "demo"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out = options.out or Path("runs") / f"{name}-seed{options.config.seed}-{stamp}"
    if chosen:
        runs = [new_run(options.config, chosen, out, shlex.join(command))]
    else:
        if out.exists() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty: choose another --out, or continue with --resume {out}")
        runs = [
            new_run(options.config, m, out / f"{i}-{method_name(m)}", shlex.join([*command, *as_arguments(m)]))
            for i, m in enumerate(methods, 1)
        ]
    return runs, out


def _existing(folder: Path, ranks: Any) -> list[Any]:
    from entrostat.lab.run import Run
    from entrostat.lab.train import read_run

    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if (folder / "config.json").is_file() or not inner:
        run = Run.open(folder)
        ranks.share(read_run(run)[0])
        return [run]
    one_process()
    return [Run.open(path) for path in inner]


def _run(runs: list[Any], folder: Path, as_json: bool, ranks: Any) -> int:
    from entrostat.lab.checkup import warn
    from entrostat.lab.show import Screen, result, table
    from entrostat.lab.side_by_side import train_all
    from entrostat.lab.train import Watcher
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
