"""entrostat compare."""

import contextlib
import dataclasses
import shlex
import sys
import time
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
from entrostat.lab.methods import METHODS


def compare(args: list[str]) -> int:
    """`entrostat compare`: the exit code."""
    from tyro.conf import OmitArgPrefixes, Positional

    from entrostat.lab.compare import Comparison
    from entrostat.lab.config import TrainConfig

    @dataclasses.dataclass(frozen=True)
    class Compare:
        methods: Positional[tuple[str, ...]] = ()
        """Methods, each one word, quoted when it has options: grpo "clip-lower --low 0.02" trl:sapo."""
        seeds: int = 3
        """Runs of each method: seeds --seed, --seed + 1, ..."""
        target: float | None = None
        """Entropy in nats that methods with a target aim at, unless their word says another, and that the entropy error
        of every row is measured against. Without it each row has its own target, or none."""
        config: OmitArgPrefixes[TrainConfig] = dataclasses.field(
            default_factory=TrainConfig
        )
        out: Annotated[Path | None, "folder"] = None
        """Folder of the comparison; runs/compare-TIME without it. It must not hold anything yet."""
        resume: Path | None = None
        """Folder of a comparison to go on with. Its options are its own: but --on-verifier-error none may be given."""
        json: bool = False
        """Print the result as JSON."""

    Compare.__doc__ = (
        "Methods on the same base model, problems and budget, over several seeds, in one table. trl:* and objective:* "
        "are first run at three settings each, two seeds a setting, unless their word gives one; the best on "
        f"validation problems takes part. Methods: {', '.join(METHODS)}."
    )
    one_process()
    if (again := resumption(args, "entrostat compare")) is not None:
        return _run_comparison(_resumed(again), again.json)
    options = parse(Compare, args, "entrostat compare")
    entries = [_entry(word) for word in options.methods]
    out = options.out or Path("runs") / f"compare-{time.strftime('%Y%m%d-%H%M%S')}"
    command = shlex.join(["entrostat", "compare", *args])
    made = Comparison.create(
        out,
        entries,
        options.config,
        seeds=options.seeds,
        target=options.target,
        command=command,
    )
    return _run_comparison(made, options.json)


def _resumed(again: Resume) -> Any:
    from entrostat.lab.compare import Comparison

    found = Comparison.open(again.resume)
    if again.on_verifier_error is not None:
        found.on_verifier_error(again.on_verifier_error)
    return found


def _entry(word: str) -> Any:
    from entrostat.lab.compare import Entry

    try:
        name, *args = shlex.split(word)
    except ValueError as error:
        raise ValueError(f"{word!r} is no method with its options ({error})") from None
    given = {
        arg[2:].split("=")[0].replace("-", "_") for arg in args if arg.startswith("--")
    }
    return Entry(word, method(name, args, "compare"), frozenset(given))


def _run_comparison(comparison: Any, as_json: bool) -> int:
    from entrostat.lab.rows import result, table
    from entrostat.lab.show import Screen
    from entrostat.report import write_report

    done = False
    with contextlib.suppress(KeyboardInterrupt), Screen() as screen:
        done = comparison.finish(lambda run: screen.watcher(run, seeded=True))
    if not done:
        return fail(
            f"stopped; to go on: entrostat compare --resume {comparison.path}", code=130
        )
    found = result(comparison)
    page = write_report(
        [Path(run) for row in found["rows"] for run in row["runs"]],
        comparison.path / "report.html",
    )
    print(f"report: {page}", file=sys.stderr)
    show(found | {"report": str(page)}, table(found, comparison.config), as_json)
    return 0
