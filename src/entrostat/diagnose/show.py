"""A diagnosis in a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from entrostat.diagnose.breakdowns import Part
from entrostat.diagnose.tables import TITLES, left_out_lines, table, total
from entrostat.diagnose.types import Json
from entrostat.diagnose.words import UNIT, number, short

ROLLOUTS = 20
"""Most rows of the table of rollouts; --json has all."""
MOVERS = 6
"""Most parts that are named on each side; --json has more."""
MAP_LOWS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MAP_HIGHS = (0.1, 0.15, 0.2, 0.28, 0.5, "inf")
"""Thresholds of the map that are shown, beside the advised ones; --json has all."""


def shown(diagnosis: Json, *, full: bool) -> RenderableType:
    """The verdict of `entrostat.diagnose.result.result`, and with `full` the rest.

    Text from the dump never acts as markup, nor on the terminal.
    """
    content: list[RenderableType] = [verdict_lines(diagnosis)]
    if not full:
        return Group(*content)
    for line in [*diagnosis["sentences"], diagnosis["reach"]["sentence"]]:
        content += [Text(""), Text(line)]
    content += [Text(""), *left_out(diagnosis), *_tables(diagnosis)]
    for line in diagnosis["limits"]:
        content.append(Text(line, style="dim"))
    return Group(*content)


def verdict_lines(diagnosis: Json) -> RenderableType:
    """The five lines; a long one goes on below its beginning."""
    rendered = Table.grid(padding=(0, 2))
    rendered.add_column(no_wrap=True)
    rendered.add_column(overflow="fold")
    for each in diagnosis["verdict"]:
        rendered.add_row(Text(each["head"], style="bold"), Text(each["line"]))
    return rendered


def left_out(diagnosis: Json) -> list[RenderableType]:
    """What could not be read or said, a line each."""
    return [Text(line, style="yellow") for line in left_out_lines(diagnosis)]


def _tables(diagnosis: Json) -> list[RenderableType]:
    content: list[RenderableType] = []
    for name in TITLES:
        if name in diagnosis["breakdowns"]:
            content.append(_breakdown(name, diagnosis["breakdowns"][name]))
    if diagnosis["measure"] is not None:
        content.append(
            Text(
                f"Change in {UNIT}: of tokens that were kept, and of those that the "
                "clip held back.\n"
            )
        )
    if diagnosis["map"] is not None:
        content.append(_map(diagnosis["map"], diagnosis["advice"]))
    if diagnosis["measured"]["points"]:
        content.append(_measured(diagnosis["measured"]["points"]))
    return content


def _titled(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold")


def _breakdown(name: str, parts: list[Part]) -> Table:
    content = table(name, _fewer(parts))
    rendered = _titled(content.title)
    rendered.add_column(content.heads[0], overflow="fold")
    for head in content.heads[1:]:
        rendered.add_column(head, justify="right")
    for label, *cells in content.rows:
        # as Text, since a string would be read as markup
        rendered.add_row(Text(label), *cells)
    if "kept" in parts[0]:
        rendered.add_section()
        rendered.add_row(*content.total)
    return rendered


def _fewer(parts: list[Part]) -> list[Part]:
    """At most MOVERS that lower entropy and MOVERS that raise it.

    The rest goes to the part that stands for all others; without one, all are kept.
    """
    *named, others = parts
    if "others" not in others:
        return parts
    # only a part with a change is named
    lowering = [part for part in named if part["kept"] < 0]
    raising = [part for part in named if part["kept"] > 0]
    merged = lowering[MOVERS:] + raising[MOVERS:]
    others = others | total([others, *merged])
    others["others"] += len(merged)
    return lowering[:MOVERS] + raising[:MOVERS] + [others]


def _map(response: Json, advice: Json | None) -> Table:
    lows, highs = list(MAP_LOWS), list(MAP_HIGHS)
    if advice is not None:
        lows.append(advice["low"])
        highs.append(advice["high"])
    rendered = _titled("Change under other thresholds")
    rendered.add_column("low \\ high")
    columns = []
    for j, high in enumerate(response["highs"]):
        if high in highs:
            columns.append(j)
    for j in columns:
        high = float(response["highs"][j])
        rendered.add_column(number(high), justify="right")
    for low, changes in zip(response["lows"], response["change"], strict=True):
        if low in lows:
            cells = [short(changes[j]) for j in columns]
            rendered.add_row(number(low), *cells)
    rendered.caption = f"{UNIT}; for the ratios of this dump"
    return rendered


def _measured(points: list[Json]) -> Table:
    rendered = _titled("Predicted and measured")
    for head in ("rollout", "entropy", "predicted", "measured"):
        rendered.add_column(head, justify="right")
    # every so many, rounded up
    stride = -(-len(points) // ROLLOUTS)
    for point in points[::stride]:
        rendered.add_row(
            str(point["step"]),
            f"{point['entropy']:.3f}",
            short(point["predicted"]),
            short(point["measured"]),
        )
    rendered.caption = f"predicted: {UNIT}; measured: nats, to the next rollout"
    return rendered
