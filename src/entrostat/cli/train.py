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
    """`entrostat train`: the exit code."""
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
    one_process()
    at = next((i for i, arg in enumerate(args) if arg in METHODS), len(args))
    chosen = method(args[at], args[at + 1 :], "train") if at < len(args) else None
    options = parse(Train, args[:at], "entrostat train", list(METHODS))
    if options.resume is not None:
        if chosen is not None or dataclasses.replace(options, resume=None, json=False) != Train():
            raise ValueError("--resume takes no other option: a run goes on with its own")
        return _run(_existing(options.resume), options.resume, options.json)
    return _run_new(options, chosen, ["entrostat", "train", *args])


def _run_new(options: Any, chosen: Method | None, command: list[str]) -> int:
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
    return _run(runs, out, options.json)


def _existing(folder: Path) -> list[Any]:
    from entrostat.lab.run import Run

    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if (folder / "config.json").is_file() or not inner:
        return [Run.open(folder)]
    return [Run.open(path) for path in inner]


def _run(runs: list[Any], folder: Path, as_json: bool) -> int:
    from entrostat.lab.checkup import warn
    from entrostat.lab.show import Screen, result, table
    from entrostat.lab.side_by_side import train_all
    from entrostat.report import write_report

    warn(runs)
    done = False
    with contextlib.suppress(KeyboardInterrupt), Screen() as screen:
        done = train_all(runs, [screen.watcher(run) for run in runs])
    if not done:
        return fail(f"stopped; to go on: entrostat train --resume {folder}", code=130)
    page = write_report([run.path for run in runs], folder / "report.html")
    print(f"report: {page}", file=sys.stderr)
    show(result(runs) if len(runs) > 1 else result(runs)[0], table(runs), as_json)
    return 0
