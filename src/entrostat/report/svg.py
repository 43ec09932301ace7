"""A static picture of pass@k against k, as SVG: a line for each benchmark.

A page of a report needs plotly.js and a browser's scripts; this file can be looked at
and embedded anywhere. It has the colours of the page.
"""

import math
from collections.abc import Mapping
from xml.etree import ElementTree

from entrostat.report.figure import interval
from entrostat.report.look import COLOURS
from entrostat.report.scores import PassAt

# Pixels of the figure and of its margins. The legend comes below, a line per benchmark.
WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 24, 52
LEGEND_LINE = 20
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}"
    ".grid{stroke:#ddd}"
    "svg{background:#fff}"
    "@media(prefers-color-scheme:dark){"
    "text{fill:#ddd}.grid{stroke:#444}svg{background:#181818}}"
)


def pass_at_k_svg(curves: Mapping[str, PassAt]) -> str:
    """The picture of pass@k by benchmark, intervals as areas.

    k is on a logarithmic scale, as its powers of two ask for. Names are escaped by
    ElementTree.

    Args:
        curves: pass@k of each benchmark, at least one.
    """
    most = max(map(max, curves.values()))
    height = HEIGHT + LEGEND_LINE * len(curves)
    picture = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )
    sentences = [_sentence(name, pass_at) for name, pass_at in curves.items()]
    # what a screen reader says
    _add(picture, "title", f"pass@k against k. {'; '.join(sentences)}")
    _add(picture, "style", STYLE)
    _add_axes(picture, curves, most)
    for i, (name, pass_at) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        _add_curve(picture, pass_at, most, colour, dashed=i >= len(COLOURS))
        _add_legend_line(picture, name, colour, y=HEIGHT + LEGEND_LINE * i)
    ElementTree.indent(picture, space="")
    return ElementTree.tostring(picture, encoding="unicode") + "\n"


def _add(
    parent: ElementTree.Element, tag: str, text: str = "", /, **attributes: object
) -> ElementTree.Element:
    """A new element in `parent`. An underscore in an attribute's name is a hyphen."""
    element = ElementTree.SubElement(parent, tag)
    element.text = text or None
    for name, value in attributes.items():
        element.set(name.replace("_", "-"), str(value))
    return element


def _x(k: int, most: int) -> float:
    """Pixels from the left; in the middle where 1 is the only k."""
    share = math.log2(k) / math.log2(most) if most > 1 else 0.5
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _y(value: float) -> float:
    """Pixels from the top, for a share in [0, 1]."""
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 2)


def _add_axes(
    picture: ElementTree.Element, curves: Mapping[str, PassAt], most: int
) -> None:
    """A grid line each 20%, a tick at each k, and what the axes are."""
    right = WIDTH - RIGHT
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        _add(picture, "line", x1=LEFT, x2=right, y1=y, y2=y).set("class", "grid")
        _add(picture, "text", f"{percent}%", x=LEFT - 8, y=y + 4, text_anchor="end")
    ks: set[int] = set()
    for pass_at in curves.values():
        ks.update(pass_at)
    below = HEIGHT - BOTTOM + 20
    for k in sorted(ks):
        _add(picture, "text", str(k), x=_x(k, most), y=below, text_anchor="middle")
    middle = (LEFT + right) / 2
    x_title = "k, samples per problem"
    _add(picture, "text", x_title, x=middle, y=HEIGHT - 10, text_anchor="middle")
    _add(picture, "text", "pass@k", x=LEFT, y=TOP - 8)


def _add_curve(
    picture: ElementTree.Element,
    pass_at: PassAt,
    most: int,
    colour: str,
    *,
    dashed: bool,
) -> None:
    """A line with its interval; the pointer finds the numbers on its dots.

    Args:
        most: the largest k of the picture.
        dashed: for a colour that another line has too.
    """
    line = []
    upper = []
    lower = []
    for k, score in pass_at.items():
        x = _x(k, most)
        line.append(f"{x},{_y(score.value)}")
        if score.low is not None and score.high is not None:
            upper.append(f"{x},{_y(score.high)}")
            lower.append(f"{x},{_y(score.low)}")
    # along the upper ends, and back along the lower ones
    outline = " ".join(upper + lower[::-1])
    _add(picture, "polygon", points=outline, fill=colour, opacity=0.15)
    stroke: dict[str, object] = {"stroke": colour, "stroke_width": 2}
    if dashed:
        stroke["stroke_dasharray"] = "6 4"
    _add(picture, "polyline", points=" ".join(line), fill="none", **stroke)
    for k, score in pass_at.items():
        place = {"cx": _x(k, most), "cy": _y(score.value)}
        dot = _add(picture, "circle", **place, r=4, fill=colour)
        _add(dot, "title", f"k = {k}: {interval(score)}")


def _add_legend_line(
    picture: ElementTree.Element, name: str, colour: str, y: int
) -> None:
    _add(picture, "rect", x=LEFT, y=y, width=14, height=4, fill=colour)
    _add(picture, "text", name, x=LEFT + 22, y=y + 6)


def _sentence(name: str, pass_at: PassAt) -> str:
    values = [f"{score.value:.3f} at {k}" for k, score in pass_at.items()]
    return f"{name}: {', '.join(values)}"
