"""A diagnosis in a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from entrostat.diagnose.texts import escaped
from entrostat.diagnose.words import UNIT, number, short

ROLLOUTS = 20
"""Of the table of rollouts; --json has all."""
LONGEST = 40
LONGEST_LINE = 1000
MOVERS = 6
SUMMED = ("tokens", "clipped_low", "clipped_high", "kept", "held_low", "held_high")
NAMED = {
    "region": "region: likely or unlikely, pushed up (E1, E2) or down (E3, E4)",
    "advantage": "sign of the advantage",
    "position": "position in the response",
    "right answers": "share of right answers to the prompt",
    "token": "token",
    "prompt": "prompt",
}
MAP_LOWS, MAP_HIGHS = (
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    (0.1, 0.15, 0.2, 0.28, 0.5, "inf"),
)
"""Of the map; --json has all."""


def shown(made: dict[str, Any]) -> RenderableType:
    """Tables and sentences of `entrostat.diagnose.result.result`. Text from the dump is never markup, nor control."""
    parts: list[RenderableType] = []
    for line in [*made["sentences"], made["reach"]["sentence"]]:
        parts += [Text(line), Text("")]
    parts += [
        Text(f"Left out: {line}.", style="yellow")
        for line in [*made["left_out"], *skipped_lines(made)]
    ]
    for name in (name for name in NAMED if name in made["breakdowns"]):
        parts.append(
            _breakdown(
                name,
                _fewer(made["breakdowns"][name]),
                known=made["measure"] is not None,
            )
        )
    if made["measure"] is not None:
        parts.append(
            Text(
                f"Change in {UNIT}: of tokens that were kept, and of those that the clip held back.\n"
            )
        )
    if made["map"] is not None:
        parts.append(_map(made))
    if made["measured"]["points"]:
        parts.append(_measured(made["measured"]["points"]))
    parts += [Text(line, style="dim") for line in made["limits"]]
    return Group(*parts)


def quoted(text: str) -> str:
    """`text` in quotes, cut, nothing in it that a terminal would act on."""
    return f'"{escaped(text, LONGEST)}"'


def skipped_lines(made: dict[str, Any]) -> list[str]:
    """What --skip-bad left out; text of a dump in it is escaped."""
    skipped = made["skipped"]
    if not (skipped["rows"] or skipped["files"]):
        return []
    told = (escaped(line, LONGEST_LINE) for line in skipped["told"])
    return [
        f"{skipped['rows']:,} rows and {skipped['files']} files that can't be read",
        *told,
    ]


def _breakdown(name: str, parts: list[dict[str, Any]], *, known: bool) -> Table:
    table = Table(title=f"By {NAMED[name]}", title_justify="left", title_style="bold")
    table.add_column(name, overflow="fold")
    for head in (
        "tokens",
        "clip-low",
        "clip-high",
        *(("change", "held by low", "held by high") if known else ()),
    ):
        table.add_column(head, justify="right")
    for part in parts:
        counts = [f"{part[key]:,}" for key in ("tokens", "clipped_low", "clipped_high")]
        moved = (
            [short(part[key]) for key in ("kept", "held_low", "held_high")]
            if known
            else []
        )
        table.add_row(Text(label_of(name, part)), *counts, *moved)
    if known:
        sums = [
            short(sum(part[key] for part in parts))
            for key in ("kept", "held_low", "held_high")
        ]
        counts = [
            f"{sum(part[key] for part in parts):,}"
            for key in ("tokens", "clipped_low", "clipped_high")
        ]
        table.add_section()
        table.add_row("all", *counts, *sums)
    return table


def _fewer(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MOVERS of those that lower entropy and of those that raise it, where there is a part for the others."""
    if not parts or "others" not in parts[-1]:
        return parts
    *named, others = parts
    down, up = (
        [part for part in named if sign * part.get("kept", 0) > 0] for sign in (-1, 1)
    )
    left = down[MOVERS:] + up[MOVERS:]
    sums = {
        key: others[key] + sum(part[key] for part in left)
        for key in SUMMED
        if key in others
    }
    return [
        *down[:MOVERS],
        *up[:MOVERS],
        others | sums | {"others": others["others"] + len(left)},
    ]


def label_of(name: str, part: dict[str, Any]) -> str:
    """A part of a breakdown in words; text of the dump in it is escaped."""
    if "others" in part:
        return f"{part['others']:,} others"
    if name == "token":
        return (
            f"{part['id']}"
            if part["label"] is None
            else f"{quoted(part['label'])} ({part['id']})"
        )
    if name == "prompt":
        return (
            part["label"]
            if part["text"] is None
            else f"{part['label']}: {quoted(part['text'])}"
        )
    return (
        f"{part['label']} (prompts: {part['prompts']:,})"
        if "prompts" in part
        else part["label"]
    )


def _map(made: dict[str, Any]) -> Table:
    found = made["map"]
    table = Table(
        title="Change under other thresholds", title_justify="left", title_style="bold"
    )
    table.add_column("low \\ high")
    columns = [
        j
        for j, high in enumerate(found["highs"])
        if high in MAP_HIGHS or _is(made, "high", high)
    ]
    for j in columns:
        table.add_column(number(float(found["highs"][j])), justify="right")
    for i, low in enumerate(found["lows"]):
        if low in MAP_LOWS or _is(made, "low", low):
            table.add_row(number(low), *(short(found["change"][i][j]) for j in columns))
    table.caption = f"{UNIT}; for the ratios of this dump"
    return table


def _is(made: dict[str, Any], side: str, bound: Any) -> bool:
    return made["advice"] is not None and made["advice"][side] == bound


def _measured(points: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Predicted and measured", title_justify="left", title_style="bold"
    )
    for head in ("rollout", "entropy", "predicted", "measured"):
        table.add_column(head, justify="right")
    step = max(1, -(-len(points) // ROLLOUTS))
    for point in points[::step]:
        changes = (short(point["predicted"]), short(point["measured"]))
        table.add_row(str(point["step"]), f"{point['entropy']:.3f}", *changes)
    table.caption = f"predicted: {UNIT}; measured: nats, to the next rollout"
    return table
