"""What `entrostat diagnose` answers."""

import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from entrostat import dump
from entrostat.diagnose.logged import answer_logged
from entrostat.diagnose.options import Diagnose, check_asked
from entrostat.diagnose.page import write_page
from entrostat.diagnose.result import result
from entrostat.diagnose.show import shown
from entrostat.diagnose.stream import Skipped, attribute
from entrostat.diagnose.types import Json
from entrostat.diagnose.viewer import viewer
from entrostat.dump.logs import log_files, read_log


def answer(options: Diagnose) -> tuple[Json, Any]:
    """The diagnosis as a JSON-able dict and for the terminal; writes the page.

    Raises:
        ValueError: what `check_asked` refuses, and a dump that can't be read (one line
            with file, row and column).
        OSError: the page can't be written.
    """
    check_asked(options)
    logs = _logs(options)
    if logs and not options.model:
        return answer_logged(options, logs)
    if logs:
        return _answer_recomputed(options, logs)
    return _answer(options, options.paths, Skipped())


def _logs(options: Diagnose) -> list[Path]:
    """The files of the trainer's log that the paths mean; [] where they are dumps.

    ValueError where they are both, or an option is for the other kind.
    """
    logs: list[Path] = []
    dumps = []
    for path in options.paths:
        found = log_files(path)
        logs += found
        if not found:
            dumps.append(path)
    if logs and dumps:
        raise ValueError(
            f"{logs[0]} is a trainer's log and {dumps[0]} is none: diagnose one kind at a "
            "time"
        )
    given = "--model" if options.model else "--reward" if options.reward else ""
    if not logs and given:
        raise ValueError(
            f"{given} is for a trainer's log of rollouts, got {dumps[0]}: a dump has its "
            "own numbers, leave the option out"
        )
    return logs


def _answer_recomputed(options: Diagnose, logs: Sequence[Path]) -> tuple[Json, Any]:
    """The answer for one rollout of a trainer's log, by the model that sampled it."""
    # transformers takes seconds to import
    from entrostat.diagnose.recompute import recompute
    from entrostat.lab.quiet import quiet

    quiet()
    skipped = Skipped()
    bad = skipped.add if options.skip_bad else None
    rollout, *others = islice(read_log(logs, reward=options.reward, bad=bad), 2)
    if others:
        raise ValueError(
            f"--model is one policy, got several rollouts in {len(logs)} files: give the "
            f"file of the one that it sampled, such as {logs[-1]}"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / dump.file_name(max(0, rollout.step))
        notes = recompute(rollout, options.model, file, temperature=options.temperature)
        return _answer(options, [file], skipped, notes)


def _answer(
    options: Diagnose,
    dumps: Sequence[Path],
    skipped: Skipped,
    notes: Sequence[str] = (),
) -> tuple[Json, Any]:
    """The answer from dumps, which are those of the paths or were made of them.

    Args:
        skipped: what was left out before; more is added.
        notes: what else can't be said, a line each.
    """
    attribution, skipped = attribute(
        dumps, right=options.right, skipped=skipped, skip_bad=options.skip_bad
    )
    diagnosis = result(attribution, skipped, dumps, notes)
    diagnosis["paths"] = [str(path) for path in options.paths]
    if options.html is not None:
        write_page(diagnosis, viewer(attribution, options.responses), options.html)
        diagnosis["page"] = str(options.html)
        print(f"page: {options.html}", file=sys.stderr)
    return diagnosis, shown(diagnosis, full=options.full)
