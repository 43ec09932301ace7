"""The options of `entrostat reproduce`; nothing here imports torch."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Checks claims of arXiv 2509.26114 and 2602.09782; without a name it lists them.

    The exit code is 1 when a claim fails. A set that was stopped goes on where it was:
    give the same command again.
    """

    claims: Positional[tuple[str, ...]] = ()
    """Names of claims."""
    all: bool = False
    """Check every claim: about 3 hours on two cores; with --fast under 15 minutes."""
    fast: bool = False
    """Few seeds and short runs: they show signs, and that the check works. Criteria speak
    of the full runs, so a claim that stands on runs stays `undecided`."""
    seeds: int | None = None
    """Repetitions of each check, seeds 0, 1, ...; by default each claim's own number.
    Two seeds of a run decide nothing."""
    out: Path = Path("runs") / "reproduce"
    """Folder of the runs' records and the results. Runs recorded there are not trained
    again."""
    render: Path | None = None
    """Folder of results to print as a Markdown page, and nothing else."""
    json: bool = False
    """Print the result as JSON."""
