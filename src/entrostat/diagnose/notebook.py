"""A diagnosis for a notebook or a script."""

from pathlib import Path

from entrostat.diagnose.command import answer
from entrostat.diagnose.options import Diagnose
from entrostat.diagnose.types import Json


def diagnosis(*paths: str | Path, html: str | Path | None = None) -> Json:
    """Why entropy moved in dumped rollouts: what `entrostat diagnose --json` prints.

    Args:
        paths: dumps, folders of them or folders of runs, taken together.
        html: write a page of it with a token viewer.

    Raises:
        ValueError: no path, or a dump that can't be read.
    """
    page = None if html is None else Path(html)
    result, _ = answer(Diagnose(paths=tuple(map(Path, paths)), html=page))
    return result
