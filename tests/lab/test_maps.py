"""A line of response.jsonl under bounds that differ by token, by hand."""

import json
import math

import pytest
import torch

from entrostat.engines.meter import TokenSample
from entrostat.lab.maps import HIGHS, LOWS, map_line

INF = math.inf


def tokens(*rows):
    """Rows of (ratio, advantage, change, weight, low, high, clipped)."""
    ratio, *rest, clipped = zip(*rows, strict=True)
    numbers = (torch.tensor(column) for column in ([math.log(r) for r in ratio], *rest))
    return TokenSample(*numbers, torch.tensor(clipped))


def test_the_thresholds_in_force_are_means_over_the_side_that_they_clip():
    line = map_line(
        7,
        tokens(
            (0.55, -1.0, 8.0, 3.0, 0.1, 9.0, True),
            (0.95, -2.0, 2.0, 1.0, 0.5, INF, False),
            (0.95, -1.0, 2.0, 4.0, INF, 9.0, False),
            (1.45, 1.0, -4.0, 2.0, -9.0, -0.3, True),
            (1.05, 1.0, 1.0, 2.0, 9.0, 0.1, False),
            (1.45, 0.0, 0.0, 4.0, 9.0, 9.0, False),
        ),
    )
    assert line["in_force"] == pytest.approx({"low": (3 * 0.1 + 0.5) / 4, "high": (-0.3 + 0.1) / 2})
    assert line["total_unclipped"] == pytest.approx((24 + 2 + 8 - 8 + 2) / 16)
    assert line["predicted"] == pytest.approx((2 + 8 + 2) / 16)
    assert (line["step"], line["tokens"]) == (7, 6)
    cell = lambda low, high: line["change"][LOWS.index(low)][HIGHS.index(high)]  # noqa: E731
    assert cell(1.0, INF) == line["total_unclipped"]
    assert cell(0.3, INF) == pytest.approx((2 + 8 - 8 + 2) / 16)  # cuts the ratio .55
    assert cell(1.0, 0.28) == pytest.approx((24 + 2 + 8 + 2) / 16)  # cuts the ratio 1.45
    assert cell(0.01, 0.01) == 0.0


def test_a_side_without_a_finite_threshold_is_null_and_the_line_is_json():
    line = map_line(0, tokens((0.9, -1.0, 1.0, 1.0, 0.2, 0.2, False), (1.1, 1.0, 1.0, 1.0, 0.2, INF, False)))
    assert (line["in_force"]["low"], line["in_force"]["high"]) == (pytest.approx(0.2), None)
    again = json.loads(json.dumps(line, allow_nan=False))
    assert again == line and again["highs"][-1] == "inf"


def test_the_grid_holds_the_thresholds_of_the_static_strategies():
    assert {0.02, 0.05, 0.15, 0.2} <= set(LOWS) and {0.2, 0.28, INF} <= set(HIGHS)
    assert list(LOWS) == sorted(set(LOWS)) and list(HIGHS) == sorted(set(HIGHS))
    assert len(LOWS) == len(HIGHS) == 15
