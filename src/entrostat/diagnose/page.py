"""The page of a diagnosis: its tables, and the responses token by token.

It is one HTML file that opens offline. Text of the dump is escaped twice: what a screen
would act on (entrostat.diagnose.texts), and by Jinja's autoescape or, in the embedded
data, as entrostat.report.page.script_json does. page.js writes by textContent alone. A
content security policy allows that script alone, by its hash, and no request of any
kind.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

import entrostat
from entrostat.diagnose.breakdowns import Part
from entrostat.diagnose.tables import TITLES, left_out_lines, table
from entrostat.diagnose.types import Json
from entrostat.diagnose.words import UNIT, number, short
from entrostat.files import write_atomic
from entrostat.report.page import csp_hash, inline_script, script_json

MARKER = '<meta name="generator" content="entrostat diagnose">'
TITLE = "entrostat: why entropy moved"
_REGIONS = {
    "none": "advantage 0, or as likely as the average token",
    "E1": "likely, pushed up: entropy falls",
    "E2": "unlikely, pushed up: entropy rises",
    "E3": "likely, pushed down: entropy rises",
    "E4": "unlikely, pushed down: entropy falls",
}
_SHADES = {"entropy": "entropy", "change": "entropy change", "ratio": "ratio"}


def write_page(
    diagnosis: Json,
    responses: Json,
    out: Path,
) -> None:
    """Writes the page to `out`, whole or not at all.

    Args:
        diagnosis: of `entrostat.diagnose.result.result`.
        responses: of `entrostat.diagnose.viewer.viewer`.

    Raises:
        FileExistsError: `out` exists and is no page of a diagnosis.
        OSError: it can't be written.
        ImportError: jinja2 is missing.
    """
    if os.path.lexists(out) and not _is_page(out):
        raise FileExistsError(
            f"{out} exists and is no page of entrostat diagnose: give another file name"
        )
    content = page(diagnosis, responses)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, content)


def _is_page(file: Path) -> bool:
    return file.is_file() and MARKER.encode() in file.read_bytes()[:1024]


def page(diagnosis: Json, responses: Json) -> str:
    """The whole page; arguments as for `write_page`."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ImportError(
            "the page needs jinja2: pip install 'entrostat[train]'"
        ) from None
    script = inline_script(_asset("page.js"))
    data = responses | {"paths": len(diagnosis["paths"])}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.globals["bar"] = lambda part: Markup(_bar(part))
    return environment.from_string(_asset("page.html")).render(
        marker=Markup(MARKER),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=csp_hash(script),
        data=Markup(script_json(data)),
        title=TITLE,
        made=diagnosis,
        unit=UNIT,
        summary=_summary(diagnosis),
        notices=left_out_lines(diagnosis),
        causes=_causes(diagnosis["causes"]),
        parts_note=_parts_note(diagnosis),
        tables=_tables(diagnosis["breakdowns"]),
        map=_map(diagnosis),
        points=[_point(point) for point in diagnosis["measured"]["points"]],
        plot=_plot(diagnosis["measured"]["points"]),
        viewer_note=_viewer_note(responses),
        shades=list(_SHADES.items()),
        regions=list(_REGIONS.items()),
        footer=f"Made by entrostat {entrostat.__version__}.",
    )


def _summary(diagnosis: Json) -> str:
    names = {
        "rollouts": "Rollouts dumped",
        "groups": "Prompts",
        "completions": "Completions",
        "tokens": "Trained tokens",
    }
    counts = []
    for key, name in names.items():
        if diagnosis[key] is not None:
            counts.append(f"{name}: {diagnosis[key]:,}.")
    return " ".join(counts)


def _parts_note(diagnosis: Json) -> str:
    if diagnosis["measure"] is None:
        return "Counts of tokens and clip events."
    return (
        "Every table adds up to the same. Change of tokens that were kept, and what "
        f"the clip held back: {UNIT}."
    )


def _causes(causes: list[Json]) -> list[Json]:
    """Rows of the table of causes; a cause without a change has none."""
    sizes = [abs(cause["change"]["value"]) for cause in causes]
    most = max(sizes, default=0)
    rows = []
    for cause in causes:
        change = cause["change"]
        if not change["value"]:
            continue
        ends = ""
        if change["low"] is not None:
            ends = f"{short(change['low'])} to {short(change['high'])}"
        rows.append(
            {
                "what": cause["what"],
                "value": short(change["value"]),
                "interval": ends,
                "bar": change["value"] / most,
            }
        )
    return rows


def _tables(breakdowns: dict[str, list[Part]]) -> list[Json]:
    tables = []
    for name in TITLES:
        if name not in breakdowns:
            continue
        parts = breakdowns[name]
        content = table(name, parts)
        most = max(abs(part.get("kept", 0)) for part in parts)
        rows = []
        for part, (label, *cells) in zip(parts, content.rows, strict=True):
            bar = part["kept"] / most if most else None
            rows.append({"label": label, "cells": cells, "bar": bar})
        label, *cells = content.total
        rows.append({"label": label, "cells": cells, "bar": None})
        tables.append(
            {
                "title": content.title,
                "heads": content.heads,
                "rows": rows,
                "known": "kept" in parts[0],
            }
        )
    return tables


def _bar(part: float) -> str:
    """A bar from the middle, -1 to 1: to the left and blue where entropy falls."""
    side = "down" if part < 0 else "up"
    width = 50 * min(1.0, abs(part))
    return (
        '<span class="bar" aria-hidden="true">'
        f'<i class="{side}" style="width: {width:.1f}%"></i></span>'
    )


def _map(diagnosis: Json) -> Json | None:
    response = diagnosis["map"]
    if response is None:
        return None
    advice = diagnosis["advice"] or {"low": None, "high": None}
    advised = (advice["low"], advice["high"])
    most = float(np.abs(response["change"]).max()) or 1.0
    rows = []
    for low, changes in zip(response["lows"], response["change"], strict=True):
        cells = []
        for high, change in zip(response["highs"], changes, strict=True):
            cells.append(
                {
                    "value": f"{change:+.2g}",
                    "shade": _shade(change / most),
                    "chosen": (low, high) == advised,
                }
            )
        rows.append({"low": number(float(low)), "cells": cells})
    in_force = [f"{side} {bound}" for side, bound in diagnosis["in_force"].items()]
    return {
        "highs": [number(float(high)) for high in response["highs"]],
        "rows": rows,
        "force": f" In force: {', '.join(in_force)}." if in_force else "",
        "advised": diagnosis["advice"] is not None,
    }


def _shade(part: float) -> str:
    """One of the page's diverging classes.

    >>> _shade(-1.0), _shade(0.01), _shade(0.5)
    ('n4', 'd0', 'p2')
    """
    level = round(4 * abs(part))
    if level == 0:
        return "d0"
    return f"{'n' if part < 0 else 'p'}{level}"


def _point(point: Json) -> Json:
    return {
        "step": point["step"],
        "entropy": f"{point['entropy']:.3f}",
        "predicted": short(point["predicted"]),
        "measured": short(point["measured"]),
    }


def _plot(points: list[Json]) -> Json | None:
    """Places of the dots and of both zeros in the page's viewBox of 300 by 220."""
    if len(points) < 2:
        return None
    predicted = [point["predicted"] for point in points]
    measured = [point["measured"] for point in points]
    x = _axis(predicted, 20.0, 280.0)
    # SVG counts downwards
    y = _axis(measured, 185.0, 15.0)
    dots = []
    for point in points:
        dots.append((x(point["predicted"]), y(point["measured"])))
    alt = (
        f"Measured change against predicted change of {len(points)} rollouts; the "
        "numbers stand below."
    )
    return {
        "dots": dots,
        "x0": x(0.0),
        "y0": y(0.0),
        "alt": alt,
    }


def _axis(
    values: Sequence[float],
    start: float,
    end: float,
) -> Callable[[float], float]:
    """A scale from the least to the most of the values and 0, to start..end."""
    least = min(0.0, *values)
    most = max(0.0, *values)
    width = most - least or 1.0
    length = end - start

    def place(value: float) -> float:
        return round(start + length * (value - least) / width, 1)

    return place


def _viewer_note(shown: Json) -> str:
    responses = []
    for prompt in shown["prompts"]:
        responses += prompt["responses"]
    whose = "completions"
    if shown["grouped"]:
        whose = f"{len(shown['prompts'])} prompts that moved entropy most"
    are_cut = any(response["shown"] < response["tokens"] for response in responses)
    longest = "; the longest are cut" if are_cut else ""
    return (
        f"{len(responses)} responses to the {whose}{longest}. "
        "Open a prompt to see its tokens."
    )


@cache
def _asset(name: str) -> str:
    folder = files(__package__ or "entrostat.diagnose")
    return (folder / name).read_text(encoding="utf-8")
