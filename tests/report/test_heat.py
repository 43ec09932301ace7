"""The heat map: cells, mark, choices and table, against the lines of response.jsonl."""

import json
import math

import plotly.graph_objects as go
import pytest

from entrostat.report.heat import LONGEST_TITLE, MOST_MAPS, position, response
from entrostat.report.look import groups
from entrostat.report.page import page
from entrostat.report.read import read_runs
from made_up_runs import HIGHS, LOWS, response_map

INF = math.inf


def maps(*steps, **kwargs):
    return {step: response_map(step, **kwargs) for step in steps}


def parts(data):
    """(cells, marks) by panel."""
    return [[trace for trace in data if trace["type"] == kind] for kind in ("heatmap", "scatter")]


def as_plotly(figure, choice, layout):
    text = json.dumps({"data": choice.data, "layout": {**layout, **choice.layout}})
    for name in ("var(--ink)", "var(--paper)", "var(--line)"):
        text = text.replace(name, "#111111")
    return go.Figure(json.loads(text))


def test_no_maps_no_figure(make_run):
    assert response(read_runs([make_run("a"), make_run("b", "id", maps={})])) is None


def test_a_panel_for_each_label_with_the_numbers_of_its_line(make_run):
    paths = [
        make_run("a", maps=maps(0, 10)),
        make_run("b", "clip-lower", maps=maps(0, 10, high=None)),
        make_run("c", "x"),
    ]
    runs = read_runs(paths)
    figure = response(runs)
    cells, marks = parts(figure.data)
    assert [trace["legendgroup"] for trace in cells] == [group.key for group in groups(runs)[:2]]
    assert [trace["xaxis"] for trace in cells] == [trace["xaxis"] for trace in marks] == ["x", "x2"]
    for trace in cells:
        assert trace["z"] == response_map(10)["change"]  # rows are low thresholds, columns high ones
        assert trace["text"][1][4] == "low 0.1, high ∞: 0.33000"
    for axes in (figure.layout, figure.narrow):
        for panel in ("", "2"):
            assert axes[f"xaxis{panel}"]["ticktext"] == ["0.01", "0.2", "∞"]
            assert axes[f"xaxis{panel}"]["tickvals"] == [0, 2, 4]
            assert axes[f"yaxis{panel}"]["ticktext"] == ["0.01", "0.2"]
            assert axes[f"yaxis{panel}"]["title"]["text"] == "low threshold"
    assert [(trace["x"], trace["y"]) for trace in marks] == [([2.0], [2.0]), ([4.0], [2.0])]


def test_colours_have_their_middle_at_zero_and_reach_as_far_as_the_rollout(make_run):
    figure = response(read_runs([make_run("a", maps=maps(0, 3))]))
    for choice, step in zip(figure.choices, (0, 3), strict=True):
        most = max(abs(value) for row in response_map(step)["change"] for value in row)
        axis = choice.layout["coloraxis"]
        assert axis["cmax"] == pytest.approx(most) and axis["cmin"] == -axis["cmax"]
        (low, blue), (middle, _), (high, orange) = axis["colorscale"]
        assert (low, blue, middle, high, orange) == (0.0, "#0072B2", 0.5, 1.0, "#D55E00")


def test_a_map_without_any_change_is_drawn_in_the_middle_colour(make_run):
    flat = response_map(0) | {"change": [[0.0] * len(HIGHS)] * len(LOWS)}
    figure = response(read_runs([make_run("a", maps={0: flat})]))
    assert figure.layout["coloraxis"]["cmin"] < 0 < figure.layout["coloraxis"]["cmax"]


def test_the_reader_picks_a_rollout_and_the_last_is_shown_first(make_run):
    figure = response(read_runs([make_run("a", maps=maps(0, 10, 20)), make_run("b", "id", maps=maps(0, 20, 30))]))
    assert [choice.label for choice in figure.choices] == [f"rollout {step}" for step in (0, 10, 20, 30)]
    assert [len(parts(choice.data)[0]) for choice in figure.choices] == [2, 1, 2, 1]
    assert (figure.data, figure.alt) == (figure.choices[-1].data, figure.choices[-1].alt)
    for choice in figure.choices:
        as_plotly(figure, choice, figure.layout)
        as_plotly(figure, choice, {**figure.layout, **figure.narrow})


def test_a_long_run_has_its_first_and_last_map_and_few_between(make_run):
    runs = read_runs([make_run("a", maps=maps(*range(0, 2000, 10)))])
    labels = [choice.label for choice in response(runs).choices]
    assert (labels[0], labels[-1], len(labels)) == ("rollout 0", "rollout 1990", MOST_MAPS)
    many = read_runs([make_run(f"m{i}", f"label-{i}", steps=1, maps=maps(0, 1, 2)) for i in range(MOST_MAPS)])
    (only,) = response(many).choices
    assert only.label == "rollout 2"


def test_of_seeds_the_first_with_maps_is_shown_and_named(make_run):
    figure = response(
        read_runs([make_run("a"), make_run("b", seed=1, maps=maps(0)), make_run("c", seed=2, maps=maps(0))])
    )
    assert len(parts(figure.data)[0]) == 1
    assert figure.layout["annotations"][0]["text"] == "● grpo, seed 1"
    assert "the first that has maps" in figure.caption


def test_a_long_name_is_cut_over_its_panel_and_whole_in_the_table(make_run):
    name = "thermostat " * 5
    figure = response(read_runs([make_run("a", name, maps=maps(0))]))
    title = figure.layout["annotations"][0]["text"]
    assert title.endswith("…") and len(title) == LONGEST_TITLE + 3
    assert name.strip() in figure.table.rows[0][0] and name.strip() in figure.alt


def test_the_numbers_are_in_the_table_and_the_extremes_in_the_text(make_run):
    figure = response(read_runs([make_run("a", maps=maps(0, 1))]))
    assert figure.table.head == ("entropy change", *(f"high {x}" for x in ("0.01", "0.1", "0.2", "0.4", "∞")))
    assert figure.table.rows[3] == (
        "grpo, seed 0, rollout 1, low 1", "−0.06000", "−0.04000", "−0.02000", "0.00000", "0.02000",
    )  # fmt: skip
    assert figure.alt == (
        "Heat map of entropy change by low and high threshold. grpo, seed 0, rollout 1: in force low 0.200 and high "
        "0.200, which kept 0.00000 of 0.02000; lowest −0.06000 at low 1, high 0.01; highest 0.08000 at low 0.01, "
        "high ∞."
    )
    assert "no forecast" in figure.caption


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        *[(0.01, 0), (0.1, 1), (0.2, 2), (1.0, 3), (-1.5, 0), (0.0, 0), (7.0, 3), (None, 3)],
        (0.05, math.log(5) / math.log(10)),
        (0.5, 2 + math.log(2.5) / math.log(5)),
    ],
)
def test_a_threshold_is_placed_by_its_logarithm_and_within_the_map(threshold, expected):
    assert position(threshold, LOWS) == pytest.approx(expected, abs=1e-3)


def test_between_the_last_number_and_infinity_is_half_way():
    assert [position(x, [0.1, 1.0, INF]) for x in (1.0, 1.5, None)] == [1.0, 1.5, 2.0]


def test_a_page_of_hostile_maps_is_made(make_run):
    """Numbers at the ends of what a float holds, and thresholds that no logarithm has."""
    big = 1.7976931348623157e308
    hostile = {
        0: response_map(0) | {"change": [[big] * len(HIGHS)] * len(LOWS)},
        1: response_map(1, low=big, high=-big) | {"predicted": big, "tokens": "many"},
        2: response_map(2) | {"change": [[None, "x", math.nan, True, {}]] * len(LOWS), "in_force": [1, 2]},
        3: response_map(3) | {"lows": [-1.0, 0.0, 1e-300, 2e-300], "in_force": {"low": 1.5e-300, "high": "inf"}},
        4: response_map(4) | {"lows": [1.0, 1.0000000000000002, 5.0, 1e3]},
    }
    assert "What other thresholds would have done" in page(read_runs([make_run("a", maps=hostile)]))
