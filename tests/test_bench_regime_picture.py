"""bench/regime.py's picture: of the numbers that there are, hollow where an interval holds 0."""

import json
import math
from pathlib import Path

import pytest

from bench_scripts import load

pytest.importorskip("plotly")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def picture():
    return load("regime_picture")


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "docs" / "results" / "regime.json").read_text())


def test_the_picture_is_of_these_numbers(picture, record):
    """One that fails here is made anew by `python bench/regime.py --render`."""
    assert picture.digest(record) in picture.PICTURE.read_text()
    assert "(regime.svg)" in (ROOT / "docs" / "regime.md").read_text()


def test_an_interval_that_holds_0_is_hollow_and_goes_to_the_floor(picture, record):
    marks = picture.marks(record)
    assert {mark.panel for mark in marks} == {"learning rate", "responses", "staleness"}
    assert {mark.sure for mark in marks} == {True, False}
    for mark in marks:
        value, low, high = mark.ends(picture.FLOOR)
        assert picture.FLOOR <= low <= value <= high < picture.TOP
        assert (low == picture.FLOOR) or mark.sure
    hollow = [
        trace for trace in picture.figure(record).data if trace.mode == "markers" and trace.marker.color == "white"
    ]
    # the last is the legend's
    assert sum(len(trace.x) for trace in hollow[:-1]) == sum(not mark.sure for mark in marks)


def test_a_place_on_the_axis_is_between_the_cells_that_have_it(picture):
    points = [picture.Place(1e-5, 1e-4, 0.001), picture.Place(2e-5, 4e-4, 0.002), picture.Place(4e-5, 1.6e-3, 0.004)]
    for kl, rate in ((4e-4, 2e-5), (2e-4, math.sqrt(2) * 1e-5), (2.5e-5, 5e-6), (6.4e-3, 8e-5)):
        assert picture.where(points, kl, "kl") == pytest.approx(rate)
    assert picture.where(points, 0.003, "share") == pytest.approx(3e-5)
