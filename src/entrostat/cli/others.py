"""Commands whose room has all of their options: report, diagnose, doctor, reproduce,
pretrain.

Their rooms are imported inside the functions: they load torch, plotly or TRL, which takes
seconds, and other commands do not need them.
"""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from entrostat.cli.words import fail, one_process, parse, show
from entrostat.lab.options import at_least


@dataclasses.dataclass(frozen=True)
class Report:
    """Writes an HTML page of the runs: what happened, curves, scores, settings.

    A run is a folder of entrostat, an output folder of TRL (trainer_state.json), a log
    of verl (its .jsonl file, or the saved console), TensorBoard events, a trackio .db, a
    .csv exported from a tracker, or a folder that holds several of these.
    """

    runs: Positional[tuple[Path, ...]] = ()
    """Folders of runs, or logs."""
    out: Path = Path("report.html")
    """The page."""
    csv: Path | None = None
    """Write the numbers behind it to this file too, as they were logged."""
    smooth: int = 1
    """Draw each point of a curve as the mean of so many around it. The page's reader may
    change it."""
    x: Literal["steps", "tokens", "time"] = "steps"
    """What curves are drawn over: steps, tokens seen, or wall time, where the log has
    it. The page's reader may change it."""
    inline: bool = False
    """Put plotly.js (5 MB) into the page. Without it there is one such file beside the
    pages of a folder."""


def report(args: list[str]) -> int:
    """`entrostat report`: the exit code."""
    options = parse(Report, args, "entrostat report")
    if not options.runs:
        raise ValueError("no run given: entrostat report RUN...")
    at_least("smooth", options.smooth, 1)
    if options.csv is not None and options.csv.exists():
        raise ValueError(f"--csv {options.csv} exists: give another file name")
    from entrostat.report import View, read_runs, write_csv, write_page
    from entrostat.report.axes import not_drawn
    from entrostat.report.story import happened

    runs = read_runs(options.runs)
    page = write_page(
        runs,
        options.out,
        inline=options.inline,
        view=View(options.smooth, options.x),
        command=shlex.join(["entrostat", "report", *args]),
    )
    print(page)
    for name in not_drawn(runs, options.x):
        fail(f"warning: {name} is not drawn: its log has no {options.x}")
    if options.csv is not None:
        print(write_csv(runs, options.csv))
    for run in runs:
        sentence = happened(run)
        if sentence:
            print(f"{run.name}: {sentence}", file=sys.stderr)
    return 0


def diagnose(args: list[str]) -> int:
    """`entrostat diagnose`: the exit code."""
    from entrostat.diagnose.options import Diagnose, check_asked

    options = parse(Diagnose, args, "entrostat diagnose")
    # before torch is imported
    check_asked(options)
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
    one_process()
    from entrostat.reproduce.listing import check_names, check_results, listing

    if options.render is not None:
        check_results(options.render)
    else:
        check_names(options.claims, all_of_them=options.all)
        if not options.claims and not options.all and not options.json:
            show(None, listing(), as_json=False)
            return 0
    from entrostat.reproduce.claim import Mode

    # its checks, before torch is imported
    Mode(options.fast, options.seeds)
    from entrostat.reproduce.command import answer

    rows, shown, code = answer(options)
    if isinstance(shown, str) and not options.json:
        # plain text, which rich would wrap
        print(shown)
    else:
        show(rows, shown, options.json)
    return code


def pretrain(args: list[str]) -> int:
    """`entrostat pretrain`: the exit code."""
    from entrostat.lab.pretrain_options import PretrainConfig, refuse_taken

    config = parse(PretrainConfig, args, "entrostat pretrain")
    refuse_taken(config.out)
    from entrostat.lab.pretrain import pretrain
    from entrostat.lab.quiet import quiet
    from entrostat.lab.show import pretrain_bar, scores_table

    quiet()
    with pretrain_bar(config.steps) as on_step:
        scores = pretrain(config, on_step=on_step)
    show(scores, scores_table(scores), as_json=False)
    return 0
