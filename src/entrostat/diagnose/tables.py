"""Breakdowns as tables of text, for the terminal and for the page."""

from typing import NamedTuple

from entrostat.diagnose.breakdowns import Part
from entrostat.diagnose.texts import escaped
from entrostat.diagnose.types import Json
from entrostat.diagnose.words import short

TITLES = {
    "region": "region: likely or unlikely, pushed up (E1, E2) or down (E3, E4)",
    "advantage": "sign of the advantage",
    "position": "position in the response",
    "right answers": "share of right answers to the prompt",
    "token": "token",
    "prompt": "prompt",
}
"""By name of the breakdown, in the order of the tables; the others are in --json."""
COUNTS = {
    "tokens": "tokens",
    "clipped_low": "clip-low",
    "clipped_high": "clip-high",
}
"""The head of each column of counts, by its key in a part."""
CHANGES = {
    "kept": "change",
    "held_low": "held by low",
    "held_high": "held by high",
}
"""The same of the columns of changes, which a dump without entropy lacks."""
_LONGEST = 40
_LONGEST_LINE = 1000


class Table(NamedTuple):
    """One breakdown. Text of the dump in it is escaped."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    total: list[str]


def table(name: str, parts: list[Part]) -> Table:
    """The table of a breakdown that has at least one part."""
    columns = dict(COUNTS)
    if "kept" in parts[0]:
        columns |= CHANGES
    rows = []
    for part in parts:
        cells = _cells(part, columns)
        rows.append([label_of(name, part), *cells])
    sums = total(parts)
    return Table(
        title=f"By {TITLES[name]}",
        heads=[name, *columns.values()],
        rows=rows,
        total=["all", *_cells(sums, columns)],
    )


def total(parts: list[Part]) -> Part:
    """The sums of the counts and changes that the parts have."""
    sums = {}
    for key in (*COUNTS, *CHANGES):
        if key in parts[0]:
            sums[key] = sum(part[key] for part in parts)
    return sums


def _cells(part: Part, columns: dict[str, str]) -> list[str]:
    cells = []
    for key in columns:
        cells.append(f"{part[key]:,}" if key in COUNTS else short(part[key]))
    return cells


def label_of(name: str, part: Part) -> str:
    """A part of a breakdown in words."""
    if "others" in part:
        return f"{part['others']:,} others"
    label = part["label"]
    if name == "token":
        return str(part["id"]) if label is None else f"{_quoted(label)} ({part['id']})"
    if name == "prompt" and part["text"] is not None:
        return f"{label}: {_quoted(part['text'])}"
    if "prompts" in part:
        return f"{label} (prompts: {part['prompts']:,})"
    return label


def left_out_lines(diagnosis: Json) -> list[str]:
    """What the dump can't tell and what --skip-bad left out, a sentence each."""
    lines = [*diagnosis["left_out"], *skipped_lines(diagnosis["skipped"])]
    return [f"Left out: {line}." for line in lines]


def skipped_lines(skipped: Json) -> list[str]:
    """What --skip-bad left out, its counts first; text of a dump in it is escaped."""
    rows, files = skipped["rows"], skipped["files"]
    if not (rows or files):
        return []
    told = [escaped(line, _LONGEST_LINE) for line in skipped["told"]]
    return [f"{rows:,} rows and {files} files that can't be read", *told]


def _quoted(text: str) -> str:
    return f'"{escaped(text, _LONGEST)}"'
