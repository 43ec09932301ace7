"""plotly.js: 5 MB of script that every page needs, inside a page or as a file beside it
that several pages share."""

import hashlib
import os
from functools import cache
from pathlib import Path

from entrostat.files import write_atomic
from entrostat.report.untrusted import text


@cache
def plotly_js() -> str:
    """Its source. ImportError where plotly is missing."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def shared_name() -> str:
    """The file's name: its version for a reader, and a hash, so that a page never meets
    another plotly.js than the one it was written with."""
    from plotly.offline import get_plotlyjs_version

    digest = hashlib.sha256(plotly_js().encode()).hexdigest()
    return f"plotly-{get_plotlyjs_version()}-{digest[:12]}.min.js"


def write_shared(folder: Path) -> str:
    """Writes the file into `folder` where it is not there yet; its name.

    Raises FileExistsError where something else has its name.
    """
    name = shared_name()
    path = folder / name
    if not os.path.lexists(path):
        write_atomic(path, plotly_js())
    elif not path.is_file() or path.read_bytes() != plotly_js().encode():
        raise FileExistsError(
            f"{text(str(path))} exists and is not the plotly.js of that name: move it "
            "away, or write the page with --inline"
        )
    return name
