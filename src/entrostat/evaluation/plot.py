"""pass@k against k as an SVG: a line a benchmark, its 95% interval as an area. Nothing is needed to look at it."""

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

# Okabe and Ito's palette, as in the report: safe for the colour-blind
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 24, 52
LEGEND = 20
"""Pixels of a line of the legend, which stands under the axes."""
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.grid{stroke:#ddd}svg{background:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}svg{background:#181818}}"
)


def pass_at_k_svg(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The picture of `scores` by benchmark. k is on a logarithmic scale, as its powers of two ask for."""
    curves = {
        name: {int(k): at for k, at in found["pass@k"].items()}
        for name, found in results.items()
    }
    most = max(max(curve) for curve in curves.values())
    height = HEIGHT + LEGEND * len(curves)
    said = "; ".join(f"{name}: {_said(curve)}" for name, curve in curves.items())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>pass@k against k. {escape(said)}</title>",
        f"<style>{_STYLE}</style>",
        *_axes(sorted({k for curve in curves.values() for k in curve}), most),
    ]
    for i, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        lines += [
            *_curve(curve, most, colour, dashed=i >= len(COLOURS)),
            *_entry(i, name, colour),
        ]
    return "\n".join([*lines, "</svg>", ""])


def _x(k: int, most: int) -> float:
    share = math.log2(k) / math.log2(most) if most > 1 else 0.5
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _y(value: float) -> float:
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 2)


def _axes(ks: list[int], most: int) -> Iterator[str]:
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{percent}%</text>'
    for k in ks:
        yield f'<text x="{_x(k, most)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{k}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">k, samples of a problem</text>'
    yield f'<text x="{LEFT}" y="{TOP - 8}">pass@k</text>'


def _curve(
    curve: Mapping[int, Mapping[str, float]], most: int, colour: str, *, dashed: bool
) -> Iterator[str]:
    above = [f"{_x(k, most)},{_y(at['high'])}" for k, at in curve.items()]
    below = [f"{_x(k, most)},{_y(at['low'])}" for k, at in curve.items()]
    yield f'<polygon points="{" ".join(above + below[::-1])}" fill="{colour}" opacity="0.15"/>'
    line = " ".join(f"{_x(k, most)},{_y(at['value'])}" for k, at in curve.items())
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    for k, at in curve.items():
        said = f"k = {k}: {at['value']:.3f} [{at['low']:.3f}, {at['high']:.3f}]"
        yield f'<circle cx="{_x(k, most)}" cy="{_y(at["value"])}" r="4" fill="{colour}"><title>{said}</title></circle>'


def _entry(i: int, name: str, colour: str) -> Iterator[str]:
    y = HEIGHT + LEGEND * i
    yield f'<rect x="{LEFT}" y="{y}" width="14" height="4" fill="{colour}"/>'
    yield f'<text x="{LEFT + 22}" y="{y + 6}">{escape(name)}</text>'


def _said(curve: Mapping[int, Mapping[str, float]]) -> str:
    return ", ".join(f"{at['value']:.3f} at {k}" for k, at in curve.items())
