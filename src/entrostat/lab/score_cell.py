"""A number with its interval in a table of a terminal."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text


class ScoreCell:
    """`0.127 [0.077, 0.175]`, the interval below the number where the table has no room
    for both on a line: so the words of its labels stay whole."""

    def __init__(self, text: str, style: str = ""):
        self.text = Text(text, style, justify="right")
        number, _, interval = text.partition(" ")
        self.folded = Text(f"{number}\n{interval}".rstrip(), style, justify="right")

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        one_line = Measurement.get(console, options, self.text).maximum
        two_lines = Measurement.get(console, options, self.folded).maximum
        return Measurement(two_lines, one_line)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Text]:
        fits = self.text.cell_len <= options.max_width
        yield self.text if fits else self.folded
