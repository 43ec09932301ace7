"""The table of results, against the numbers that the runs wrote."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.report.read import Run, read_runs
from entrostat.report.results import best_label, rows, score_names, terms
from entrostat.report.scores import Evaluation, Score


def bold(lines):
    return [(row.label, [cell.best for cell in row.cells]) for row in lines if any(cell.best for cell in row.cells)]


def test_a_line_for_the_base_model_and_each_run(make_run):
    summary = {"entropy_start": 0.43, "entropy_end": 0.08, "seconds": 1234.4}
    base, run = rows(read_runs([make_run("a", "grpo", mean=0.52, most=0.61, summary=summary)]))
    assert (base.kind, base.label, base.entropy, base.seconds, base.state) == ("base", "base model", "0.430", "", "")
    assert [(cell.value, cell.spread) for cell in base.cells] == [
        ("0.410", "[0.390, 0.430]"), ("0.980", "[0.960, 1.000]"),
    ]  # fmt: skip
    assert (run.label, run.seed, run.entropy, run.seconds) == ("grpo", "0", "0.430 → 0.080", "1,234")
    assert [(cell.value, cell.spread) for cell in run.cells] == [
        ("0.520", "[0.470, 0.570]"), ("0.610", "[0.560, 0.660]"),
    ]  # fmt: skip


def test_the_best_is_bold_only_where_no_interval_overlaps(make_run):
    runs = read_runs([make_run("a", "grpo", mean=0.52, most=0.61), make_run("b", "id", mean=0.61, most=0.88)])
    assert bold(rows(runs)) == [("id", [False, True])]


def scored(label, low, high):
    end = Evaluation({"mean@32": Score((low + high) / 2, low, high)}, {})
    return Run(Path(label), label, label, 0, {}, {}, 0, (), {}, Evaluation({}, {}), end)


@given(st.floats(0.0, 0.5), st.floats(0.01, 0.2))
def test_bold_needs_a_gap_between_the_intervals(low, width):
    first, touching = scored("a", low, low + width), scored("b", low + width, 0.8)
    above = scored("b", low + width + 1e-6, 0.8)
    assert best_label([first, touching], "mean@32") is None
    assert best_label([first, above], "mean@32") == best_label([above, first], "mean@32") == "b"
    assert best_label([above], "mean@32") is None
    assert best_label([first, touching, scored("c", 0.81, 0.9)], "mean@32") == "c"
    assert best_label([first, scored("b", 0.8, 0.85), scored("c", 0.81, 0.9)], "mean@32") is None


def test_a_score_without_an_interval_makes_nothing_bold(make_run):
    runs = [make_run("a", most=0.2), make_run("b", "id", summary={"pass@32": {"value": 0.9}})]
    lines = rows(read_runs(runs))
    assert bold(lines) == []
    assert (lines[-1].cells[1].value, lines[-1].cells[1].spread) == ("0.900", "")


def test_seeds_have_a_mean_which_is_bold_in_their_place(make_run):
    runs = [make_run(f"a{s}", "grpo", seed=s, most=0.6) for s in range(3)]
    runs += [make_run(f"b{s}", "id", seed=s, most=0.80 + 0.03 * s, end=0.3) for s in range(3)]
    lines = rows(read_runs(runs))
    assert bold(lines) == [("id", [False, True])]
    mean = lines[-1]
    assert (mean.kind, mean.seed, mean.cells[1].value, mean.cells[1].spread) == (
        "mean", "3 seeds", "0.830", "(0.800 to 0.860)",
    )  # fmt: skip
    assert [row.seed for row in lines] == ["", "0", "1", "2", "3 seeds", "0", "1", "2", "3 seeds"]
    # One seed whose interval reaches down to the others' takes the claim away from the label.
    overlapping = make_run("b9", "id", seed=9, most=0.68)
    assert bold(rows(read_runs([*runs, overlapping]))) == []


def test_an_unfinished_run_has_no_scores_and_no_part_in_means(make_run):
    runs = [make_run("a"), make_run("b", seed=1, done=5), make_run("c", "id", done=0)]
    _, finished, unfinished, empty = rows(read_runs(runs))
    assert (finished.state, unfinished.state, empty.state) == ("", "unfinished", "unfinished")
    assert [cell.value for cell in unfinished.cells] == ["–", "–"]
    assert (empty.entropy, empty.seconds) == ("–", "–")


def test_base_models_with_other_scores_are_told_apart(make_run):
    other = {"start": {"mean@32": 0.2, "pass@32": 0.5}}
    lines = rows(read_runs([make_run("a"), make_run("b", "id", summary=other), make_run("c", "od")]))
    assert [(row.cells[0].value, row.state) for row in lines if row.kind == "base"] == [
        ("0.410", "of grpo, seed 0; od, seed 0"), ("0.200", "of id, seed 0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("summary", "names"),
    [({}, ("mean@32", "pass@32")), ({"mean@8": 0.5, "pass@8": 0.5}, ("mean@8", "mean@32", "pass@8", "pass@32"))],
)
def test_each_score_has_a_column_and_a_line_that_says_what_it_is(make_run, summary, names):
    runs = read_runs([make_run("a", summary=summary)])
    assert score_names(runs) == names
    told = dict(terms(runs))
    assert all("32 samples" in told[name] for name in names if name.endswith("32"))
    assert "averaged" in told["mean@32"] and "at least one" in told["pass@32"]
    assert "bold" not in told


def test_columns_are_there_before_any_run_is_evaluated(make_run):
    assert score_names(read_runs([make_run("a", done=1)])) == ("mean@32", "pass@32")
