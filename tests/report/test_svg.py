"""The picture is XML, says its numbers, and no name breaks out of it."""

import xml.etree.ElementTree as ET

from entrostat.report.scores import evaluation
from entrostat.report.svg import pass_at_k_svg

NAME = '<script>alert("1")</script>&'


def curve(*values):
    at = {str(2**i): {"value": v, "low": v - 0.1, "high": v + 0.1} for i, v in enumerate(values)}
    return evaluation({"pass@k": at}).pass_at


def test_a_line_and_an_area_a_benchmark_with_names_as_text():
    svg = pass_at_k_svg({NAME: curve(0.2, 0.4, 0.5), "other": curve(0.1, 0.3)})
    root = ET.fromstring(svg)
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert (kinds.count("polyline"), kinds.count("polygon"), kinds.count("script")) == (2, 2, 0)
    assert NAME in "".join(root.itertext())


def test_points_stand_where_their_numbers_are():
    root = ET.fromstring(pass_at_k_svg({"b": curve(0.2, 0.4, 1.0)}))
    points = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter() if c.tag.endswith("circle")]
    (x1, y1), (x2, y2), (x4, y4) = points
    assert x2 - x1 == x4 - x2 > 0  # a doubling is a step
    assert y1 > y2 > y4
    assert abs((y1 - y2) / (y2 - y4) - 0.2 / 0.6) < 1e-3


def test_one_sample_a_problem():
    ET.fromstring(pass_at_k_svg({"b": curve(0.2)}))
