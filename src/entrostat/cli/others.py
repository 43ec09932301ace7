"""Commands whose room has all of their options: report, diagnose, doctor, reproduce,
pretrain.

Their rooms are imported inside the functions: they load torch, plotly or TRL, which takes
seconds, and other commands do not need them.
"""

import dataclasses
import sys
from pathlib import Path

from entrostat.cli.words import one_process, parse, show


def report(args: list[str]) -> int:
    """`entrostat report`: the exit code."""
    from tyro.conf import Positional

    @dataclasses.dataclass(frozen=True)
    class Report:
        """Writes one self-contained HTML page of the runs: what happened, curves, scores,
        settings.

        A run is a folder of entrostat, an output folder of TRL (trainer_state.json), a log
        of verl (its .jsonl file, or the saved console), TensorBoard events, a trackio .db, a
        .csv exported from a tracker, or a folder that holds several of these.
        """

        runs: Positional[tuple[Path, ...]] = ()
        """Folders of runs, or logs."""
        out: Path = Path("report.html")
        """The page."""
        csv: Path | None = None
        """Write the numbers behind it to this file too."""

    options = parse(Report, args, "entrostat report")
    if not options.runs:
        raise ValueError("no run given: entrostat report RUN...")
    from entrostat.report import read_runs, write_csv, write_page
    from entrostat.report.story import happened

    if options.csv is not None and options.csv.exists():
        raise ValueError(f"--csv {options.csv} exists: give another file name")
    runs = read_runs(options.runs)
    print(write_page(runs, options.out))
    if options.csv is not None:
        print(write_csv(runs, options.csv))
    for run in runs:
        sentence = happened(run)
        if sentence:
            print(f"{run.name}: {sentence}", file=sys.stderr)
    return 0


def diagnose(args: list[str]) -> int:
    """`entrostat diagnose`: the exit code."""
    from entrostat.diagnose.options import Diagnose

    options = parse(Diagnose, args, "entrostat diagnose")
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        raise ValueError(
            f"{missing[0]}: there is no such file or folder: give a dump, a folder of "
            "dumps or a run's folder"
        )
    from entrostat.diagnose.command import answer

    result, shown = answer(options)
    show(result, shown, options.json)
    return 0


def doctor(args: list[str]) -> int:
    """`entrostat doctor`: the exit code."""
    from entrostat.doctor.command import Doctor, answer

    options = parse(Doctor, args, "entrostat doctor")
    result, shown, code = answer(options)
    show(result, shown, options.json)
    return code


def reproduce(args: list[str]) -> int:
    """`entrostat reproduce`: the exit code."""
    from entrostat.reproduce.options import Reproduce

    options = parse(Reproduce, args, "entrostat reproduce")
    from entrostat.reproduce.command import answer

    one_process()
    rows, shown, code = answer(options)
    if isinstance(shown, str) and not options.json:
        # plain text, which rich would wrap
        print(shown)
    else:
        show(rows, shown, options.json)
    return code


def pretrain(args: list[str]) -> int:
    """`entrostat pretrain`: the exit code."""
    from entrostat.lab.pretrain import PretrainConfig, pretrain
    from entrostat.lab.quiet import quiet
    from entrostat.lab.show import pretrain_bar, scores_table

    config = parse(PretrainConfig, args, "entrostat pretrain")
    quiet()
    with pretrain_bar(config.steps) as on_step:
        scores = pretrain(config, on_step=on_step)
    show(scores, scores_table(scores), as_json=False)
    return 0
