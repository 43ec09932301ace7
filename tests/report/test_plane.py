"""The plane of mean@n and pass@n, against the evaluations in the runs' folders."""

import json

import plotly.graph_objects as go
import pytest

from entrostat.report.look import BASE, groups
from entrostat.report.plane import plane
from entrostat.report.read import read_runs
from made_up_runs import evaluation, score


def ends(figure, key):
    return [trace for trace in figure.data if trace["legendgroup"] == key and trace.get("marker", {}).get("size") == 10]


def test_an_end_point_is_mean_against_pass_with_its_intervals(make_run):
    path = make_run("a", mean=0.52, most=0.61)
    (end,) = ends(plane(read_runs([path])), "g0")
    summary = json.loads((path / "summary.json").read_text())
    for axis, name in (("x", "mean@32"), ("y", "pass@32")):
        told = summary[name]
        assert end[axis] == [told["value"]]
        bars = end[f"error_{axis}"]
        assert bars["array"] == pytest.approx([told["high"] - told["value"]])
        assert bars["arrayminus"] == pytest.approx([told["value"] - told["low"]])


def test_intervals_of_unequal_arms_keep_their_sides(make_run):
    summary = {"mean@32": {"value": 0.5, "low": 0.4, "high": 0.7}, "pass@32": {"value": 0.9, "low": 0.6, "high": 0.95}}
    (end,) = ends(plane(read_runs([make_run("a", summary=summary)])), "g0")
    arms = [end[f"error_{axis}"][side] for axis in "xy" for side in ("arrayminus", "array")]
    assert [one for (one,) in arms] == pytest.approx([0.1, 0.2, 0.3, 0.05])


def test_the_base_model_stands_once_for_equal_scores(make_run):
    runs = [make_run("a"), make_run("b", "id"), make_run("c", "od", summary={"start": evaluation(0.2, 0.5)})]
    figure = plane(read_runs(runs))
    bases = [trace for trace in figure.data if trace["legendgroup"] == BASE]
    assert [(trace["x"], trace["y"]) for trace in bases] == [([0.41], [0.98]), ([0.2], [0.5])]
    assert [trace["name"] for trace in figure.data if trace["showlegend"]] == ["base model", "grpo", "id", "od"]
    assert [row[0] for row in figure.table.rows[:2]] == ["base model"] * 2


def test_evaluations_on_the_way_are_joined_from_the_base_model_to_the_end_in_order(make_run):
    between = {100: evaluation(0.5, 0.7), 20: evaluation(0.45, 0.9), 9: evaluation(0.43, 0.95)}
    runs = read_runs([make_run("a", "id"), make_run("b", between=between, mean=0.52, most=0.61)])
    figure = plane(runs)
    (line,) = (trace for trace in figure.data if trace["mode"] == "lines")
    assert line["x"] == [0.41, 0.43, 0.45, 0.5, 0.52]
    assert line["y"] == [0.98, 0.95, 0.9, 0.7, 0.61]
    assert line["line"]["color"] == groups(runs)[1].colour
    (small,) = (trace for trace in figure.data if trace.get("marker", {}).get("size") == 6)
    assert (small["x"], small["y"]) == ([0.43, 0.45, 0.5], [0.95, 0.9, 0.7])
    assert small["text"][1] == "grpo, seed 0, after 20 rollouts"
    assert [row[1] for row in figure.table.rows if row[0] == "grpo, seed 0"] == [
        "after 9 rollouts", "after 20 rollouts", "after 100 rollouts", "at the end",
    ]  # fmt: skip
    assert ("small", "during training, in order along the line") in figure.styles


def test_an_unfinished_run_has_its_way_without_an_end(make_run):
    run = make_run("a", done=12, between={5: evaluation(0.43, 0.95), 10: evaluation(0.45, 0.9)})
    figure = plane(read_runs([run]))
    (line,) = (trace for trace in figure.data if trace["mode"] == "lines")
    assert line["x"] == [0.43, 0.45]
    assert ends(figure, "g0") == []
    assert plane(read_runs([make_run("b", done=3)])) is None


def test_seeds_are_points_of_one_colour_and_one_entry_in_the_legend(make_run):
    figure = plane(read_runs([make_run(f"{s}", seed=s, mean=0.5 + 0.01 * s) for s in range(3)]))
    found = ends(figure, "g0")
    assert [trace["x"] for trace in found] == [[0.5], [0.51], [0.52]]
    assert [trace["showlegend"] for trace in found] == [True, False, False]
    assert len({trace["marker"]["color"] for trace in found}) == 1


def test_runs_scored_with_other_numbers_of_samples_are_left_out_by_name(make_run):
    few = make_run("c", "od", done=2, between={1: {"mean@4": score(0.5), "pass@4": score(0.7)}})
    figure = plane(read_runs([make_run("a"), make_run("b", "id"), few]))
    assert figure.title == "pass@32 against mean@32"
    assert "Left out, scored with other numbers of samples: od, seed 0." in figure.caption
    assert not any(trace["legendgroup"] == "g2" for trace in figure.data)
    assert "Left out" not in plane(read_runs([few])).caption
    assert plane(read_runs([few])).title == "pass@4 against mean@4"


def test_it_is_valid_plotly_and_told_in_words(make_run):
    figure = plane(read_runs([make_run("a", between={5: evaluation(0.43, 0.95)})]))
    for layout in (figure.layout, {**figure.layout, **figure.narrow}):
        text = json.dumps({"data": figure.data, "layout": layout})
        for name in ("var(--ink)", "var(--paper)", "var(--line)"):
            text = text.replace(name, "#111111")
        go.Figure(json.loads(text))
    assert figure.alt == (
        "Chart of pass@32 against mean@32. base model: 0.410, 0.980. grpo, seed 0 after 5 rollouts: 0.430, 0.950. "
        "grpo, seed 0 at the end: 0.520, 0.610."
    )
    assert figure.table.rows[-1] == ("grpo, seed 0", "at the end", "0.520 [0.470, 0.570]", "0.610 [0.560, 0.660]")


def test_a_name_is_no_markup(make_run):
    figure = plane(read_runs([make_run("a", "<b>x</b>", between={5: evaluation(0.43, 0.95)})]))
    for trace in figure.data:
        assert "<b>" not in trace["name"] and not any("<b>" in said for said in trace.get("text", []))
