"""`entrostat diagnose`: its options, and what it answers."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from entrostat.diagnose.page import write_page
from entrostat.diagnose.result import result
from entrostat.diagnose.show import shown
from entrostat.diagnose.stream import attribute
from entrostat.diagnose.types import Json
from entrostat.diagnose.viewer import viewer


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Why entropy moved: its first-order change in dumped rollouts by cause, and thresholds that would have held it.

    Dumps come from `entrostat train --dump-every`, from the TRL engine (dump_every=...), from anybody's tensors by
    entrostat.dump, or from prime-rl's token export (docs/dump.md).
    """

    paths: Positional[tuple[Path, ...]] = ()
    """Dumps, folders of them or folders of runs, taken together."""
    html: Path | None = None
    """Write a page of it with a token viewer."""
    responses: int = 200
    """At most so many responses in the viewer: those of the prompts that moved entropy most."""
    right: float = 0.5
    """The least reward of a right answer."""
    skip_bad: bool = False
    """Leave out rows and files that can't be read, and count them."""
    json: bool = False
    """Print the result as JSON."""


def answer(options: Diagnose) -> tuple[Json, Any]:
    """The diagnosis as a JSON-able dict and for the terminal; writes the page.

    Raises:
        ValueError: no path, a dump that can't be read (one line with file, row and
            column), responses under 1.
        OSError: the page can't be written.
    """
    if not options.paths:
        raise ValueError(
            "no dump given: entrostat diagnose PATH..., a dump, a folder of them or a "
            "run's folder"
        )
    if options.responses < 1:
        raise ValueError(f"responses must be at least 1, got {options.responses}")
    attribution, skipped = attribute(
        options.paths, right=options.right, skip_bad=options.skip_bad
    )
    diagnosis = result(attribution, skipped, options.paths)
    if options.html is not None:
        write_page(diagnosis, viewer(attribution, options.responses), options.html)
        diagnosis["page"] = str(options.html)
        print(f"page: {options.html}", file=sys.stderr)
    return diagnosis, shown(diagnosis)
