"""Claims and what their checks found, on a terminal."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from entrostat.reproduce.claim import Claim, Result

COLOURS = {"holds": "green", "fails": "bold red", "undecided": "yellow"}


def listing(claims: Iterable[Claim]) -> Table:
    """Name, statement and source of each."""
    out = Table(caption="entrostat reproduce NAME... checks them, --all all of them", caption_justify="left")
    for column in ("claim", "statement", "source"):
        out.add_column(column)
    for claim in claims:
        out.add_row(claim.name, escape(claim.statement), escape(claim.source))
    return out


def results(found: Iterable[tuple[Claim, Result]]) -> Table:
    """Effect, interval and verdict of each."""
    out = Table(caption="95% intervals over seeds; --json has the criterion and all numbers", caption_justify="left")
    for column in ("claim", "statement"):
        out.add_column(column)
    for column in ("effect", "interval", "verdict", "seconds"):
        out.add_column(column, justify="right", no_wrap=column != "effect")
    for claim, result in found:
        out.add_row(claim.name, escape(claim.statement), *_cells(claim, result))
    return out


def _cells(claim: Claim, result: Result) -> list[Any]:
    span = f"{result.interval.low:.3f}..{result.interval.high:.3f}" if result.interval else ""
    colour = COLOURS[result.verdict]
    return [
        f"{result.effect:.3f} ({escape(claim.measure)})",
        span,
        f"[{colour}]{result.verdict}[/]",
        f"{result.seconds:.1f}",
    ]
