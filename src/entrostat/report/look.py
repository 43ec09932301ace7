"""Colours and markers, and which label has which."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrostat.report.read import Run

# Okabe and Ito's palette, safe for the colour-blind, less yellow (too faint on white)
# and black (the base model).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# A second code beside the colour, of another length, so that no pair comes back before
# 42 labels.
SYMBOLS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "cross": "✚",
    "x": "✖",
    "star": "★",
}
"""Plotly's name, and how the page's text shows it."""
INK = "var(--ink)"
"""Colours of this form are those of the page's scheme, light or dark. The page's script
fills them in."""
GRID = "var(--line)"
PAPER = "var(--paper)"
BASE = "base"
"""The legend group of the base model."""


@dataclass(frozen=True)
class Group:
    """The runs of one label, seeds of one experiment: one entry in each legend."""

    key: str
    """The legend group, by which the page hides and shows it."""
    label: str
    """The runs'."""
    colour: str
    """One of `COLOURS`."""
    symbol: str
    """A key of `SYMBOLS`."""
    runs: tuple[Run, ...]


def groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by label, in order, each label with its colour and marker."""
    # By the label's place, so that a label looks the same in every figure of a report.
    by_label: dict[str, list[Run]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    symbols = list(SYMBOLS)
    grouped = []
    for i, (label, members) in enumerate(by_label.items()):
        colour = COLOURS[i % len(COLOURS)]
        symbol = symbols[i % len(symbols)]
        grouped.append(Group(f"g{i}", label, colour, symbol, tuple(members)))
    return grouped


def has_seeds(grouped: Sequence[Group]) -> bool:
    """Whether a label has more than one run."""
    return any(len(group.runs) > 1 for group in grouped)
