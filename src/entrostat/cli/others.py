"""Commands whose room has all of their options: report, diagnose, doctor, reproduce,
pretrain.

Their rooms are imported inside the functions: they load torch, plotly or TRL, which takes
seconds, and other commands do not need them.
"""

import dataclasses
from pathlib import Path

from entrostat.cli.words import one_process, parse, show


def report(args: list[str]) -> int:
    """`entrostat report`: the exit code."""
    from tyro.conf import Positional

    from entrostat.report import write_report

    @dataclasses.dataclass(frozen=True)
    class Report:
        """Writes one self-contained HTML page of the runs: curves, scores, settings."""

        runs: Positional[tuple[Path, ...]]
        """Folders of runs."""
        out: Path = Path("report.html")
        """The page."""

    options = parse(Report, args, "entrostat report")
    if not options.runs:
        raise ValueError("no run given: entrostat report RUN...")
    print(write_report(list(options.runs), options.out))
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
