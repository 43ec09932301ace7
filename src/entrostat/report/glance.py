"""A run at a glance, as a notebook shows it: its name, a sentence, and its entropy as a
small picture. No script, and colours of the page around it."""

import dataclasses
from html import escape
from xml.etree import ElementTree

from entrostat.report.read import Run
from entrostat.report.story import happened

WIDTH, HEIGHT = 320, 60


@dataclasses.dataclass(frozen=True)
class ShownRun(Run):
    """A run that a notebook shows by itself."""

    @classmethod
    def of(cls, run: Run) -> "ShownRun":
        fields = {
            field.name: getattr(run, field.name) for field in dataclasses.fields(run)
        }
        return cls(**fields)

    def _repr_html_(self) -> str:
        return glance(self)


def glance(run: Run) -> str:
    """HTML in which nothing of the run can be more than text."""
    steps = f"{len(run.rows)} {'steps' if run.foreign else 'rollouts'}"
    sentence = happened(run) or "entropy is not known"
    lines = [
        f"<strong>{escape(run.name)}</strong>, {steps}",
        escape(sentence),
        _picture(list(run.known("entropy").values())),
    ]
    return f"<div>{'<br>'.join(filter(None, lines))}</div>"


def _picture(values: list[float]) -> str:
    """Entropy from the left to the right, 0 at the bottom; empty for fewer than two."""
    if len(values) < 2:
        return ""
    most = max(values) or 1.0
    points = []
    for i, value in enumerate(values):
        x = WIDTH * i / (len(values) - 1)
        y = HEIGHT - (HEIGHT - 2) * value / most
        points.append(f"{x:.1f},{y:.1f}")
    picture = ElementTree.Element(
        "svg",
        width=str(WIDTH),
        height=str(HEIGHT),
        role="img",
    )
    title = ElementTree.SubElement(picture, "title")
    title.text = f"entropy, from {values[0]:.2f} to {values[-1]:.2f} nats per token"
    line = ElementTree.SubElement(picture, "polyline", points=" ".join(points))
    line.set("fill", "none")
    line.set("stroke", "currentColor")
    return ElementTree.tostring(picture, encoding="unicode")
