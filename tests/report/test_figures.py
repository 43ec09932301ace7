"""The figures' specifications, against the runs' files and Plotly's own schema."""

import json
import math
from statistics import fmean

import plotly.graph_objects as go
import pytest

from entrostat.report.figure import literal
from entrostat.report.figures import REGIONS, control, entropy, figures, pass_at_k, regions
from entrostat.report.lines import mean_line
from entrostat.report.look import COLOURS, SYMBOLS, groups
from entrostat.report.read import read_runs

INF = float("inf")


def metrics(path, key):
    return [json.loads(line)[key] for line in (path / "metrics.jsonl").read_text().splitlines()]


def in_legend(figure):
    return [trace["name"] for trace in figure.data if trace["showlegend"]]


def as_plotly(figure, layout):
    """The figure as plotly.py reads it, which refuses a property or a value that is not in the schema."""
    colours = {"var(--ink)": "#111111", "var(--paper)": "#ffffff", "var(--line)": "#dddddd"}
    text = json.dumps({"data": figure.data, "layout": layout})
    for name, colour in colours.items():
        text = text.replace(name, colour)
    return go.Figure(json.loads(text))


@pytest.fixture
def several(make_run):
    """Two seeds of one label, a run with a target, one that was killed, one that clips nothing on the high side."""
    return [
        make_run("a", "grpo", steps=30),
        make_run("b", "grpo", seed=1, steps=30, done=12),
        make_run("c", "thermostat", steps=30, end=0.35, target=0.35, steered=True),
        make_run("d", "clip-lower", steps=30, end=0.3, low=0.15, high=INF),
    ]


def test_all_figures_are_valid_plotly(several):
    drawn = figures(read_runs(several))
    assert [figure.key for figure in drawn] == ["entropy", "control", "reward", "clip", "regions", "passk", "plane"]
    for figure in drawn:
        as_plotly(figure, figure.layout)
        as_plotly(figure, {**figure.layout, **figure.narrow})


def test_a_curve_holds_the_numbers_of_its_run(make_run):
    path = make_run("a", steps=4)
    (trace,) = entropy(read_runs([path])).data
    assert trace["x"] == [0, 1, 2, 3]
    assert trace["y"] == pytest.approx(metrics(path, "entropy"), rel=1e-5)
    assert (trace["name"], trace["showlegend"], trace["line"]["dash"]) == ("grpo", True, "solid")


def test_seeds_share_a_colour_and_have_their_mean_as_far_as_all_have_got(several):
    figure = entropy(read_runs(several))
    first, second, mean = (trace for trace in figure.data if trace["legendgroup"] == "g0")
    assert first["line"]["color"] == second["line"]["color"] == mean["line"]["color"]
    assert first["line"]["width"] < mean["line"]["width"]
    assert (len(first["x"]), mean["x"]) == (30, list(range(12)))
    pairs = zip(metrics(several[0], "entropy"), json_prefix(several[1], "entropy"), strict=False)
    assert mean["y"] == pytest.approx([fmean(pair) for pair in pairs], rel=1e-5)
    assert in_legend(figure) == ["grpo", "thermostat", "clip-lower"]
    assert [style for style in figure.styles if "seed" in style.what] == [
        ("thin", "one seed"),
        ("line", "mean of seeds"),
    ]


def json_prefix(path, key):
    """Of a run that was killed: its whole lines."""
    return [json.loads(line)[key] for line in (path / "metrics.jsonl").read_text().splitlines()[:-1]]


def test_a_mean_is_missing_where_one_seed_is():
    assert mean_line([{0: 1.0, 1: None, 2: 3.0, 3: 1.0}, {0: 2.0, 1: 5.0, 2: 5.0}]) == {0: 1.5, 1: None, 2: 4.0}


def test_a_target_is_dashed_in_the_colour_of_its_run(several, make_run):
    runs = read_runs(several)
    figure = entropy(runs)
    (target,) = (trace for trace in figure.data if trace["line"]["dash"] == "dash" and trace["mode"] == "lines")
    assert set(target["y"]) == {0.35}
    assert target["line"]["color"] == groups(runs)[1].colour
    assert ("dash", "target") in figure.styles
    assert entropy(read_runs([make_run("z")])).styles == []


def test_entropy_on_held_out_prompts_stands_as_markers_where_it_was_measured(several, make_run):
    runs = read_runs(several)
    figure = entropy(runs)
    (marks,) = (trace for trace in figure.data if trace["mode"] == "markers")
    own = [json.loads(line) for line in (several[2] / "metrics.jsonl").read_text().splitlines()]
    assert marks["x"] == [0, 10, 20]
    assert marks["y"] == pytest.approx([own[k]["held_out_entropy"] for k in (0, 10, 20)], rel=1e-5)
    group = groups(runs)[1]
    assert marks["marker"]["color"] == group.colour and marks["marker"]["symbol"] == f"{group.symbol}-open"
    assert ("rings", "on fixed held-out prompts") in figure.styles
    column = figure.table.head.index("thermostat, seed 0: held out")
    shown = {row[0]: row[column] for row in figure.table.rows}
    assert [shown[k] for k in ("0", "10", "20")] == [f"{own[k]['held_out_entropy']:.3f}" for k in (0, 10, 20)]


def test_the_thermostat_s_figure_has_its_pressure_and_its_shares_and_no_other_run(several, make_run):
    runs = read_runs(several)
    figure = control(runs)
    _, dropped, low, high = figure.data
    assert {trace["legendgroup"] for trace in figure.data} == {"g1"}
    assert {trace["line"]["color"] for trace in figure.data} == {groups(runs)[1].colour}
    for trace, key in zip(figure.data, ("pressure", "dropped", "clip_low", "clip_high"), strict=True):
        assert trace["y"] == pytest.approx(metrics(several[2], key), rel=1e-5), key
    assert [trace["yaxis"] for trace in figure.data] == ["y", "y2", "y2", "y2"]
    assert [trace["line"]["dash"] for trace in (dropped, low, high)] == ["solid", "dash", "dot"]
    assert "matches" not in figure.layout["yaxis2"]  # a pressure and a share have no common range
    assert in_legend(figure) == ["thermostat"]
    assert "grpo" not in figure.alt and "grpo" not in str(figure.table)
    assert control(read_runs([make_run("z")])) is None


def test_clip_sides_have_panels_of_their_own(several):
    figure = next(figure for figure in figures(read_runs(several)) if figure.key == "clip")
    low, high = (trace for trace in figure.data if trace["name"] == "clip-lower")
    assert (low["yaxis"], high["yaxis"]) == ("y", "y2")
    assert low["y"] == pytest.approx(metrics(several[3], "clip_low"), rel=1e-5)
    assert set(high["y"]) == {0.0}
    assert [note["text"] for note in figure.layout["annotations"]] == ["low side", "high side"]
    assert figure.layout["yaxis2"]["matches"] == "y"


def test_regions_stand_in_a_grid_of_likelihood_and_sign(several):
    figure = regions(read_runs(several))
    titles = {note["text"]: (note["x"], note["y"]) for note in figure.layout["annotations"]}
    assert list(titles) == [literal(title) for title in REGIONS.values()]
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = titles.values()
    assert x1 == x3 < x2 == x4  # columns: likely, unlikely
    assert y1 == y2 > y3 == y4  # rows: A > 0, A < 0
    for (region, title), suffix in zip(REGIONS.items(), ("", "2", "3", "4"), strict=True):
        assert title.startswith(region)
        solid = [t for t in figure.data if t["yaxis"] == f"y{suffix}" and t["name"] == "thermostat"]
        assert solid[0]["y"] == pytest.approx(metrics(several[2], f"{region}/change_kept"), rel=1e-5)
        dotted = [t for t in figure.data if t["yaxis"] == f"y{suffix}" and t["name"] == "thermostat (clipped)"]
        assert dotted[0]["line"]["dash"] == "dot"
        assert dotted[0]["y"] == pytest.approx(metrics(several[2], f"{region}/change_clipped"), rel=1e-5)


def entropy_of(logits):
    whole = sum(map(math.exp, logits))
    return -sum(math.exp(z) / whole * (z - math.log(whole)) for z in logits)


@pytest.mark.parametrize(
    ("region", "likely", "positive"),
    [("E1", True, True), ("E2", False, True), ("E3", True, False), ("E4", False, False)],
)
def test_titles_of_regions_state_the_sign_that_a_softmax_has(region, likely, positive):
    """The entropy of three tokens, before and after one of them is pushed up or down a little."""
    logits, token = [2.0, 0.0, -1.0], 0 if likely else 2
    pushed = [z + (i == token) * (1e-4 if positive else -1e-4) for i, z in enumerate(logits)]
    effect = "raises H" if entropy_of(pushed) > entropy_of(logits) else "lowers H"
    name = f"{'likely' if likely else 'unlikely'}, A {'>' if positive else '<'} 0"
    assert REGIONS[region] == f"{region} · {name} · {effect}"


def test_region_table_has_the_means_over_the_rollouts(make_run):
    path = make_run("a", steps=6)
    row = regions(read_runs([path])).table.rows[0]
    assert row[:2] == ("grpo, seed 0", "E1")
    share, kept, clipped = (fmean(metrics(path, f"E1/{key}")) for key in ("share", "change_kept", "change_clipped"))
    assert row[2:] == (f"{share:.1%}", f"{kept:.5f}".replace("-", "−"), f"{clipped:.5f}".replace("-", "−"))


def test_a_point_without_neighbours_has_a_marker(make_run):
    path = make_run("a", steps=3)
    rows = [{"step": 0, "entropy": 0.4}, {"step": 1, "entropy": None}, {"step": 2, "entropy": 0.3}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (trace,) = entropy(read_runs([path])).data
    assert trace["y"] == [0.4, None, 0.3]
    assert trace["mode"] == "lines+markers" and "maxdisplayed" not in trace["marker"]


def test_pass_at_k_has_bands_and_the_base_model_once(several):
    figure = pass_at_k(read_runs(several))
    assert in_legend(figure) == ["base model", "grpo", "thermostat", "clip-lower"]
    assert figure.layout["xaxis"]["type"] == "log"
    assert figure.layout["xaxis"]["tickvals"] == [1, 2, 4, 8, 16, 32]
    summary = json.loads((several[3] / "summary.json").read_text())["pass@k"]
    band, line = (trace for trace in figure.data if trace["legendgroup"] == "g2")
    assert line["y"] == pytest.approx([summary[str(k)]["value"] for k in line["x"]], rel=1e-5)
    lows, highs = ([summary[str(k)][side] for k in (1, 2, 4, 8, 16, 32)] for side in ("low", "high"))
    assert band["x"] == [1, 2, 4, 8, 16, 32, 32, 16, 8, 4, 2, 1]
    assert band["y"] == pytest.approx(lows + highs[::-1], rel=1e-5)
    fills = ["fill" in trace for trace in figure.data]
    assert fills == sorted(fills, reverse=True)  # no band hides a curve
    assert figure.table.rows[-1][:2] == ("clip-lower, seed 0", "0.520 [0.470, 0.570]")


def test_pass_at_k_of_seeds_is_their_mean(make_run):
    figure = pass_at_k(read_runs([make_run("a", most=0.6), make_run("b", seed=1, most=0.7)]))
    lines = [trace for trace in figure.data if trace["legendgroup"] == "g0" and trace.get("fill") is None]
    first, second, mean = (trace["y"][-1] for trace in lines)
    assert (first, second, mean) == pytest.approx((0.6, 0.7, 0.65))


def test_missing_keys_leave_their_curves_out(make_run):
    path = make_run("a", steps=2, done=2)
    (path / "metrics.jsonl").write_text('{"step": 0, "reward": 0.5, "novelty": 3}\n{"step": 1, "reward": 0.6}\n')
    assert [figure.key for figure in figures(read_runs([path]))] == ["reward"]
    (path / "metrics.jsonl").write_text("")
    assert figures(read_runs([path])) == []


def test_numbers_and_alternative_text_are_the_runs_own(make_run):
    path = make_run("a", steps=100)
    figure = entropy(read_runs([path]))
    values = metrics(path, "entropy")
    assert figure.alt == f"Line chart against rollouts. grpo, seed 0: {values[0]:.3f} to {values[-1]:.3f}."
    assert figure.table.head == ("rollout", "grpo, seed 0")
    assert len(figure.table.rows) == 11
    assert [figure.table.rows[0], figure.table.rows[-1]] == [
        ("0", f"{values[0]:.3f}"), ("99", f"{values[99]:.3f}"),
    ]  # fmt: skip


def test_labels_differ_in_colour_or_marker(make_run):
    runs = read_runs([make_run(f"{i}", f"label-{i}", steps=1) for i in range(42)])
    looks = {(group.colour, group.symbol) for group in groups(runs)}
    assert len(looks) == 42 == len(COLOURS) * len(SYMBOLS)


def test_plotly_reads_no_markup_in_a_name(make_run):
    name = "<b>x</b> &lt; <a href='#'>"
    figure = entropy(read_runs([make_run("a", name)]))
    assert figure.data[0]["name"] == "&lt;b&gt;x&lt;/b&gt; &amp;lt; &lt;a href='#'&gt;"
