"""entrostat compare."""

import contextlib
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from entrostat.cli.words import (
    Resume,
    check_method,
    fail,
    method,
    new_folder,
    one_process,
    parse,
    resumption,
    show,
    split_word,
)
from entrostat.lab.compare_check import check_asked
from entrostat.lab.folders import check_comparison, check_new
from entrostat.lab.method_registry import METHODS

# Rooms of the lab are imported inside the functions: they load torch and TRL, which takes
# seconds, and other commands need neither.


def compare(args: list[str]) -> int:
    """`entrostat compare`: the exit code."""
    one_process()
    again = resumption(args, "entrostat compare")
    if again is not None:
        return _run(_resumed(again), again.json)
    from entrostat.lab.config import GROUPS

    options = parse(compare_options(), args, "entrostat compare", groups=GROUPS)
    return _run(_new(options, args), options.json)


def compare_options() -> type[Any]:
    """The class of the command's options."""
    from tyro.conf import OmitArgPrefixes, Positional

    from entrostat.lab.config import TrainConfig

    @dataclasses.dataclass(frozen=True)
    class Compare:
        methods: Positional[tuple[str, ...]] = ()
        """Methods, each one word, quoted when it has options:
        grpo "clip-lower --low 0.02" trl:sapo."""
        seeds: int = 3
        """Runs of each method: seeds --seed, --seed + 1, ..."""
        target: float | None = None
        """Entropy in nats that methods with a target aim at, unless their word says another.
        The entropy error of every row is measured against it.
        Without it each row has its own target, or none."""
        config: OmitArgPrefixes[TrainConfig] = dataclasses.field(
            default_factory=TrainConfig
        )
        out: Annotated[Path | None, "folder"] = None
        """Folder of the comparison; runs/compare-TIME without it.
        It must not hold anything yet."""
        resume: Path | None = None
        """Folder of a comparison to go on with.
        It keeps its options: only --on-verifier-error may be given."""
        json: bool = False
        """Print the result as JSON."""

    Compare.__doc__ = (
        "Methods on the same base model, problems and budget, over several seeds, in one "
        "table. trl:* and objective:* are first run at three settings each, two seeds per "
        "setting, unless their word gives one; the best on validation problems takes "
        f"part. Methods: {', '.join(METHODS)}."
    )
    return Compare


def _new(options: Any, args: list[str]) -> Any:
    """A comparison that has not begun."""
    # what needs no torch is told first
    check_asked(len(options.methods), options.seeds, options.target)
    for word in options.methods:
        name, *typed = split_word(word)
        check_method(name, typed, "compare")
    if options.out is not None:
        check_new(options.out)
    from entrostat.lab.compare import Comparison

    entries = [_entry(word) for word in options.methods]
    return Comparison.create(
        options.out or new_folder("compare"),
        entries,
        options.config,
        seeds=options.seeds,
        target=options.target,
        command=shlex.join(["entrostat", "compare", *args]),
    )


def _entry(word: str) -> Any:
    from entrostat.lab.compare import Entry

    name, *args = split_word(word)
    given = set()
    for arg in args:
        if arg.startswith("--"):
            given.add(arg[2:].split("=")[0].replace("-", "_"))
    return Entry(word, method(name, args, "compare"), frozenset(given))


def _resumed(again: Resume) -> Any:
    check_comparison(again.resume)
    from entrostat.lab.compare import Comparison

    comparison = Comparison.open(again.resume)
    if again.on_verifier_error is not None:
        comparison.on_verifier_error(again.on_verifier_error)
    return comparison


def _run(comparison: Any, as_json: bool) -> int:
    """Trains what is missing, and shows the table."""
    from entrostat.lab.rows import result, table
    from entrostat.lab.show import Screen
    from entrostat.report import write_report

    done = False
    with contextlib.suppress(KeyboardInterrupt), Screen() as screen:
        done = comparison.finish(lambda run: screen.watcher(run, seeded=True))
    if not done:
        again = f"entrostat compare --resume {comparison.path}"
        return fail(f"stopped; to go on: {again}", code=130)
    compared = result(comparison)
    folders = []
    for row in compared["rows"]:
        folders += map(Path, row["runs"])
    # one page of this folder: nothing to share
    page = write_report(folders, comparison.path / "report.html", inline=True)
    print(f"report: {page}", file=sys.stderr)
    compared["report"] = str(page)
    show(compared, table(compared, comparison.config), as_json)
    return 0
