"""What `entrostat diagnose` answers."""

import sys
from typing import Any

from entrostat.diagnose.options import Diagnose
from entrostat.diagnose.page import write_page
from entrostat.diagnose.result import result
from entrostat.diagnose.show import shown
from entrostat.diagnose.stream import attribute
from entrostat.diagnose.types import Json
from entrostat.diagnose.viewer import viewer


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
    return diagnosis, shown(diagnosis, full=options.full)
