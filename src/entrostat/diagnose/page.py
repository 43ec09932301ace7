"""The page of a diagnosis: its tables, and the responses token by token. One HTML file that opens offline.

Text of the dump is escaped twice: what a screen would act on (entrostat.diagnose.texts), and by Jinja's autoescape or,
in the embedded data, as entrostat.report.page.script_json does. page.js writes by textContent alone. A content security
policy allows that script alone, by its hash, and no request of any kind.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import entrostat
from entrostat.diagnose.show import NAMED, label_of, skipped_lines
from entrostat.diagnose.words import UNIT, number, short
from entrostat.files import write_atomic
from entrostat.report.page import inline_script, script_json

MARKER = '<meta name="generator" content="entrostat diagnose">'
TITLE = "entrostat: why entropy moved"
_REGIONS = {
    "none": "advantage 0, or as likely as the average token",
    "E1": "likely, pushed up: entropy falls",
    "E2": "unlikely, pushed up: entropy rises",
    "E3": "likely, pushed down: entropy rises",
    "E4": "unlikely, pushed down: entropy falls",
}
_SHADES = (("entropy", "entropy"), ("change", "entropy change"), ("ratio", "ratio"))
_HEADS = ("tokens", "clip-low", "clip-high", "change", "held by low", "held by high")
_KEYS = ("tokens", "clipped_low", "clipped_high", "kept", "held_low", "held_high")


def write_page(made: dict[str, Any], shown: dict[str, Any], out: Path) -> None:
    """Writes the page of `entrostat.diagnose.result.result` and `viewer` to `out`, whole or not at all.

    Raises:
        FileExistsError: `out` exists and is no page of a diagnosis.
        OSError: it can't be written.
        ImportError: jinja2 is missing.
    """
    if os.path.lexists(out) and not (
        out.is_file() and MARKER.encode() in out.read_bytes()[:1024]
    ):
        raise FileExistsError(
            f"{out} exists and is no page of entrostat diagnose: give another file name"
        )
    content = page(made, shown)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, content)


def page(made: dict[str, Any], shown: dict[str, Any]) -> str:
    """The whole page."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ImportError(
            "the page needs jinja2: pip install 'entrostat[train]'"
        ) from None
    script = inline_script(_asset("page.js"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.globals["bar"] = lambda part: Markup(_bar(part))
    return environment.from_string(_asset("page.html")).render(
        marker=Markup(MARKER),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'",
        data=Markup(script_json(shown | {"paths": len(made["paths"])})),
        title=TITLE,
        made=made,
        unit=UNIT,
        summary=_summary(made),
        notices=[
            f"Left out: {line}." for line in [*made["left_out"], *skipped_lines(made)]
        ],
        causes=_causes(made["causes"]),
        parts_note=_parts_note(made),
        tables=[_table(name, made) for name in NAMED if name in made["breakdowns"]],
        map=_map(made),
        points=[_point(point) for point in made["measured"]["points"]],
        plot=_plot(made["measured"]["points"]),
        viewer_note=_viewer_note(shown),
        shades=_SHADES,
        regions=list(_REGIONS.items()),
        footer=f"Made by entrostat {entrostat.__version__}.",
    )


def _summary(made: dict[str, Any]) -> str:
    names = {
        "rollouts": "Rollouts dumped",
        "groups": "Prompts",
        "completions": "Completions",
        "tokens": "Trained tokens",
    }
    return " ".join(
        f"{name}: {made[key]:,}."
        for key, name in names.items()
        if made[key] is not None
    )


def _parts_note(made: dict[str, Any]) -> str:
    if made["measure"] is None:
        return "Counts of tokens and clip events."
    return f"Every table adds up to the same. Change of tokens that were kept, and what the clip held back: {UNIT}."


def _causes(causes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    most = max((abs(cause["change"]["value"]) for cause in causes), default=0)
    out = []
    for cause in causes:
        value, low, high = (cause["change"][name] for name in ("value", "low", "high"))
        ends = "" if low is None else f"{short(low)} to {short(high)}"
        if value:
            out.append(
                {
                    "what": cause["what"],
                    "value": short(value),
                    "interval": ends,
                    "bar": value / most,
                }
            )
    return out


def _table(name: str, made: dict[str, Any]) -> dict[str, Any]:
    parts, known = made["breakdowns"][name], made["measure"] is not None
    keys = _KEYS if known else _KEYS[:3]
    most = max((abs(part["kept"]) for part in parts), default=0) if known else 0
    rows = [
        {
            "label": label_of(name, part),
            "cells": _cells(part, keys),
            "bar": part["kept"] / most if most else None,
        }
        for part in parts
    ]
    total = {key: sum(part[key] for part in parts) for key in keys}
    rows.append({"label": "all", "cells": _cells(total, keys), "bar": None})
    return {
        "name": NAMED[name],
        "heads": (name, *_HEADS[: len(keys)]),
        "rows": rows,
        "known": known,
    }


def _cells(part: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [
        f"{part[key]:,}" if isinstance(part[key], int) else short(part[key])
        for key in keys
    ]


def _bar(part: float) -> str:
    """A bar from the middle, -1 to 1: to the left and blue where entropy falls."""
    side, width = "down" if part < 0 else "up", f"{50 * min(1.0, abs(part)):.1f}%"
    return f'<span class="bar" aria-hidden="true"><i class="{side}" style="width: {width}"></i></span>'


def _map(made: dict[str, Any]) -> dict[str, Any] | None:
    found, advice = made["map"], made["advice"]
    if found is None:
        return None
    most = max(abs(x) for row in found["change"] for x in row) or 1.0
    rows = []
    for low, values in zip(found["lows"], found["change"], strict=True):
        cells = []
        for high, value in zip(found["highs"], values, strict=True):
            named = advice is not None and (advice["low"], advice["high"]) == (
                low,
                high,
            )
            cells.append(
                {
                    "value": f"{value:+.2g}",
                    "shade": _shade(value / most),
                    "chosen": named,
                }
            )
        rows.append({"low": number(float(low)), "cells": cells})
    force = ", ".join(f"{side} {value}" for side, value in made["in_force"].items())
    return {
        "highs": [number(float(high)) for high in found["highs"]],
        "rows": rows,
        "force": f" In force: {force}." if force else "",
        "advised": advice is not None,
    }


def _shade(part: float) -> str:
    """One of the page's diverging classes.

    >>> _shade(-1.0), _shade(0.01), _shade(0.5)
    ('n4', 'd0', 'p2')
    """
    size = round(4 * abs(part))
    return f"{'n' if part < 0 else 'p'}{size}" if size else "d0"


def _point(point: dict[str, Any]) -> dict[str, Any]:
    shown = {name: short(point[name]) for name in ("predicted", "measured")}
    return {"step": point["step"], "entropy": f"{point['entropy']:.3f}"} | shown


def _plot(points: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Places of the dots in the page's viewBox, both axes from their own least to most, zero within."""
    if len(points) < 2:
        return None
    across, up = (
        [point[name] for point in points] for name in ("predicted", "measured")
    )
    x, y = _axis(across, 20, 280), _axis(up, 185, 15)
    dots = [(x(a), y(b)) for a, b in zip(across, up, strict=True)]
    alt = f"Measured change against predicted change of {len(points)} rollouts; the numbers stand below."
    return {"dots": dots, "x0": x(0.0), "y0": y(0.0), "alt": alt}


def _axis(values: Sequence[float], start: float, end: float) -> Any:
    least, most = min(0.0, *values), max(0.0, *values)
    width = most - least or 1.0
    return lambda value: round(start + (end - start) * (value - least) / width, 1)


def _viewer_note(shown: dict[str, Any]) -> str:
    responses = sum(len(prompt["responses"]) for prompt in shown["prompts"])
    what = (
        f"{len(shown['prompts'])} prompts that moved entropy most"
        if shown["grouped"]
        else "completions"
    )
    cut = any(
        one["shown"] < one["tokens"]
        for prompt in shown["prompts"]
        for one in prompt["responses"]
    )
    longest = "; the longest are cut" if cut else ""
    return (
        f"{responses} responses to the {what}{longest}. "
        "Open a prompt to see its tokens."
    )


@cache
def _asset(name: str) -> str:
    return (files(__package__ or "entrostat.diagnose") / name).read_text(
        encoding="utf-8"
    )
