"""The figure of scores by temperature, against the runs' files; and records that are not what they should be."""

import json
from statistics import fmean

import plotly.graph_objects as go
import pytest

from entrostat.report.look import groups
from entrostat.report.read import read_runs
from entrostat.report.temperatures import MOST_TEMPERATURES, sweep, temperatures
from made_up_runs import evaluation

BASE = {"1": (0.41, 0.98), "0.4": (0.45, 0.93), "0.05": (0.5, 0.64)}


def swept(scores, best):
    """A record at several temperatures; `scores`: mean@32 and pass@32 by temperature."""
    by_temperature = {key: evaluation(*pair) for key, pair in scores.items()}
    return by_temperature[next(iter(scores))] | {"by_temperature": by_temperature, "best_temperature": best}


@pytest.fixture
def make_swept(make_run):
    def make(name, label, scores, best, **kwargs):
        return make_run(name, label, summary=swept(scores, best) | {"start": swept(BASE, 0.05)}, **kwargs)

    return make


def lines(figure, key, axis="y"):
    drawn = [one for one in figure.data if one["legendgroup"] == key and one["yaxis"] == axis]
    return [one for one in drawn if one["mode"] != "markers"], [one for one in drawn if one["mode"] == "markers"]


def test_curves_and_rings_are_the_records_numbers(make_swept):
    end = {"1": (0.48, 0.8), "0.4": (0.49, 0.7), "0.05": (0.47, 0.6)}
    runs = read_runs([make_swept("a", "grpo", end, 0.4), make_swept("b", "clip-lower", end, 1.0)])
    figure = temperatures(runs)
    for key, scores, best in (("base", BASE, 0.05), ("g0", end, 0.4), ("g1", end, 1.0)):
        for panel, axis in enumerate(("y", "y2")):
            (line,), (ring,) = lines(figure, key, axis)
            assert line["x"] == [0.05, 0.4, 1.0]
            assert line["y"] == pytest.approx([scores[t][panel] for t in ("0.05", "0.4", "1")])
            assert line["showlegend"] == (panel == 0)
            assert ring["x"] == [best]
            assert ring["y"] == pytest.approx([scores[f"{best:g}"][panel]])
    assert figure.layout["xaxis"]["type"] == figure.layout["xaxis2"]["type"] == "log"
    assert figure.layout["xaxis"]["ticktext"] == ["0.05", "0.4", "1"]
    assert figure.table.head == ("run", "temperature", "mean@32", "pass@32", "on validation problems")
    assert figure.table.rows[0] == ("base model", "0.05", "0.500 [0.450, 0.550]", "0.640 [0.590, 0.690]", "best")
    assert [row[4] for row in figure.table.rows if row[0] == "grpo, seed 0"] == ["", "best", ""]
    assert "grpo, seed 0 at its best temperature 0.4: 0.490, 0.700." in figure.alt
    colours = {"var(--ink)": "#111111", "var(--paper)": "#ffffff", "var(--line)": "#dddddd"}
    for layout in (figure.layout, {**figure.layout, **figure.narrow}):
        text = json.dumps({"data": figure.data, "layout": layout})
        for name, colour in colours.items():
            text = text.replace(name, colour)
        go.Figure(json.loads(text))


def test_seeds_are_thin_beside_their_mean(make_swept):
    scores = [{"1": (0.4, 0.8), "0.4": (0.5, 0.7)}, {"1": (0.6, 0.9), "0.4": (0.8, 0.75)}]
    paths = [make_swept(str(i), "grpo", one, 0.4, seed=i) for i, one in enumerate(scores)]
    runs = read_runs(paths)
    figure = temperatures(runs)
    (first, second, mean), rings = lines(figure, "g0")
    assert first["line"]["width"] == second["line"]["width"] < mean["line"]["width"]
    assert mean["y"] == pytest.approx([fmean(one[t][0] for one in scores) for t in ("0.4", "1")])
    assert [one["showlegend"] for one in (first, second, mean)] == [False, False, True]
    assert len(rings) == 2
    assert ("line", "mean of seeds") in figure.styles
    assert len(lines(figure, "base")[0]) == 1, "both began with one base model"
    assert mean["marker"]["symbol"] == groups(runs)[0].symbol


def test_runs_at_one_temperature_have_no_figure_and_no_curve(make_run, make_swept):
    plain = make_run("a", "grpo")
    assert temperatures(read_runs([plain])) is None
    figure = temperatures(read_runs([plain, make_swept("b", "id", BASE, 1.0)]))
    assert {one["legendgroup"] for one in figure.data} == {"base", "g1"}


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"by_temperature": 3},
        {"by_temperature": {"1": evaluation(0.4, 0.9)}},
        {"by_temperature": {"1": evaluation(0.4, 0.9), "-1": evaluation(0.4, 0.9), "0": {}, "nan": {}, "1e999": {}}},
        {"by_temperature": {"1": evaluation(0.4, 0.9), "</script>": evaluation(0.4, 0.9)}},
    ],
)
def test_what_is_no_record_of_two_temperatures_is_none(record):
    assert sweep(record) is None


def test_a_best_temperature_that_was_not_scored_and_scores_that_are_none_are_left_out(make_run):
    by_temperature = {"1": evaluation(0.4, 0.9), "0.5": "x", "0.2": {"mean@32": {"value": "high"}}}
    for best in (0.7, "0.5", None, [1], float("nan")):
        record = {"by_temperature": by_temperature, "best_temperature": best}
        assert sweep(record).best is None
        figure = temperatures(read_runs([make_run(str(best), summary=record)]))
        (line,), rings = lines(figure, "g0")
        assert (line["x"], rings) == ([1.0], [])
        assert "at its highest temperature 1: 0.400, 0.900" in figure.alt
    many = {f"0.{i:03}": evaluation(0.4, 0.9) for i in range(1, 200)}
    assert len(sweep({"by_temperature": many}).at) == MOST_TEMPERATURES
