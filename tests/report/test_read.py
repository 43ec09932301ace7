"""Folders of runs that are whole, cut, edited or hostile."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrostat.report import maps, read, scores, untrusted
from entrostat.report.read import read_runs
from entrostat.report.scores import Score
from entrostat.report.untrusted import integer, number, text
from made_up_runs import HIGHS, LOWS, evaluation, response_map


def only(path: Path) -> read.Run:
    (run,) = read_runs([path])
    return run


def test_a_finished_run(make_run):
    path = make_run("a", "clip-lower", seed=3, steps=5, mean=0.55, most=0.88, summary={"entropy_end": 0.3})
    run = only(path)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert (run.label, run.name, run.seed, run.planned) == ("clip-lower", "clip-lower, seed 3", 3, 5)
    assert list(run.rows) == [0, 1, 2, 3, 4]
    assert run.curve("entropy") == [row["entropy"] for row in rows]
    assert run.entropies() == (rows[0]["entropy"], 0.3)
    assert (run.finished, run.skipped, run.problems) == (True, 0, ())
    assert run.end.scores == {"mean@32": Score(0.55, 0.5, 0.6000000000000001), "pass@32": Score(0.88, 0.83, 0.93)}
    assert list(run.end.pass_at) == [1, 2, 4, 8, 16, 32]
    assert run.start.scores["pass@32"].value == 0.98


def test_an_unfinished_run_goes_as_far_as_its_last_whole_line(make_run):
    run = only(make_run("a", steps=100, done=7))
    assert (run.finished, len(run.rows), run.planned, run.skipped) == (False, 7, 100, 1)
    assert run.entropies() == (run.rows[0]["entropy"], run.rows[6]["entropy"])
    assert run.end.scores == {} and run.start.pass_at == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_cut_anywhere_loses_at_most_the_line_it_is_in(make_run, tmp_path_factory, data):
    whole = b"".join(b'{"step": %d, "entropy": 0.4%d}\n' % (k, k) for k in range(9))
    cut = data.draw(st.integers(0, len(whole)))
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.jsonl").write_bytes(whole[:cut])
    run = only(folder)
    lines = whole[:cut].count(b"\n")
    complete = lines + (whole[cut : cut + 1] == b"\n")
    assert list(run.rows) == list(range(complete))
    assert run.skipped == (1 if complete == lines and not whole[:cut].endswith(b"\n") and cut else 0)


@pytest.mark.parametrize(
    "line",
    [
        "[1, 2]", '"step"', "null", "{}", '{"step": null}', '{"step": "3"}', '{"step": -1}', '{"step": 1.5}',
        '{"step": true}', '{"step": 1e300}', '{"step": NaN}', "[" * 100_000, "{\"a\":" * 100_000, "9" * 5000, "\x00",
        '{"step": 5, "note": "' + "a" * 3 * untrusted.LONGEST_LINE + '"}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_rollout_is_counted_and_skipped(make_run, line):
    path = make_run("a", steps=2)
    content = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(f"{line}\n{content}{line}\n")
    run = only(path)
    assert (list(run.rows), run.skipped) == ([0, 1], 2)


def test_values_that_are_no_finite_numbers_are_missing(make_run):
    path = make_run("a", steps=1)
    (path / "metrics.jsonl").write_text(
        '{"step": 0, "entropy": NaN, "reward": Infinity, "clip_low": "0.1", "clip_high": true, "target": null}\n'
        '{"step": 1, "entropy": 0.3, "reward": 1' + "0" * 400 + "}\n"
    )
    run = only(path)
    assert run.curve("entropy") == [None, 0.3]
    assert [run.curve(key) for key in ("reward", "clip_low", "clip_high", "target", "absent")] == [[]] * 5


def test_lines_are_put_in_order_and_the_last_of_a_step_counts(make_run):
    path = make_run("a", steps=1)
    (path / "metrics.jsonl").write_text('{"step":2,"reward":0.2}\n{"step":1,"reward":0.1}\n{"step":2,"reward":0.3}\n')
    run = only(path)
    assert (list(run.rows), run.curve("reward")) == ([1, 2], [0.1, 0.3])


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_a_broken_config_or_summary_is_told_and_the_rest_shown(make_run, content):
    path = make_run("folder-name", steps=3)
    (path / "config.json").write_text(content)
    (path / "summary.json").write_text(content)
    run = only(path)
    assert (run.label, run.seed, run.finished, len(run.rows)) == ("folder-name", None, False, 3)
    assert [problem.split()[0] for problem in run.problems] == ["config.json", "summary.json"]


def test_a_config_too_large_to_read_is_told(make_run):
    path = make_run("a", steps=1)
    (path / "config.json").write_text('{"x": "' + "a" * untrusted.LARGEST_JSON + '"}')
    assert only(path).problems == (f"config.json is over {untrusted.LARGEST_JSON} characters and was not read",)


@pytest.mark.parametrize("value", [None, 3, [], "x", {"value": "0.5"}, {"value": None}, {"low": 0.1, "high": 0.2}])
def test_a_score_of_another_shape_is_missing(make_run, value):
    scores = {"mean@32": value, "pass@32": 0.5, "pass@k": {"1": value, "x": 0.5, "0": 0.5, "2": {"value": 0.25}}}
    run = only(make_run("a", steps=1, summary=scores | {"start": value}))
    expected = {"mean@32": Score(3.0)} if value == 3 else {}
    assert run.end.scores == expected | {"pass@32": Score(0.5)}
    assert run.end.pass_at == ({1: Score(3.0)} if value == 3 else {}) | {2: Score(0.25)}
    assert run.start.scores == {}


def test_half_an_interval_is_none():
    assert scores._score({"value": 0.5, "low": 0.4, "high": None}) == Score(0.5)


def test_names_tell_the_runs_apart(make_run):
    again, other = make_run("again"), make_run("other")
    runs = read_runs([make_run("b", seed=2), make_run("a", seed=1), again, other, make_run("x/a", "id", seed=5)])
    assert [run.name for run in runs] == [
        "grpo, seed 0 (again)", "grpo, seed 0 (other)", "grpo, seed 1", "grpo, seed 2", "id, seed 5",
    ]  # fmt: skip


def test_one_folder_given_twice_is_one_run(make_run, monkeypatch):
    path = make_run("a")
    monkeypatch.chdir(path.parent)
    assert len(read_runs([path, Path("a"), path / ".." / "a"])) == 1


def test_runs_of_one_label_with_other_settings_are_no_seeds_of_one_another(make_run):
    runs = read_runs(
        [
            make_run("a", low=0.1),
            make_run("b", low=0.1, seed=1),
            make_run("c", low=0.2, config={"learning_rate": 1e-5}),
            make_run("d", "clip-lower", low=0.15),
        ]
    )
    assert [run.label for run in runs] == [
        *["grpo (low 0.1, learning_rate 0.0001)"] * 2, "grpo (low 0.2, learning_rate 1e-05)", "clip-lower",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["entrostat", "train", "--reward", "a b", "$(x)"], "entrostat train --reward 'a b' '$(x)'"),
        ("entrostat train id", "entrostat train id"),
    ],
)
def test_a_recorded_command_is_shown_as_it_was(make_run, command, shown):
    assert only(make_run("a", config={"command": command})).command() == shown


def test_a_command_is_rebuilt_from_the_settings(make_run):
    run = only(make_run("a", "clip-lower", seed=4, low=0.15, high=float("inf"), config={"reward": "bernoulli:0.5"}))
    assert run.command() == (
        "entrostat train --seed 4 --task countdown --reward bernoulli:0.5 --steps 100 --prompts 32 "
        "--samples 16 --updates-per-rollout 8 --learning-rate 0.0001 clip-lower --low 0.15 --high inf"
    )


def test_a_path_that_is_no_run_is_refused_by_name(make_run, tmp_path):
    folder = tmp_path / "no\nrun"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"no.run holds no run: no metrics\.jsonl of entrostat") as caught:
        read_runs([make_run("a"), folder])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="at least one run's folder, got none"):
        read_runs([])


@given(st.text(st.characters()) | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_text_is_bounded_and_holds_nothing_invisible(value):
    shown = text(value, limit=20)
    assert len(shown) <= 21
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode()


@pytest.mark.parametrize(
    "c", ["\x00", "\n", "\x1b", "\x85", "\xad", "\u200b", "\u202e", "\u2028", "\u2029", "\ud800", "\ufeff"]
)
def test_characters_that_hide_or_reorder_text_are_replaced(c):
    assert text(f"a{c}b") == "a\ufffdb"


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_numbers_are_finite_floats_and_integers_exact(value):
    assert number(value) is None or (float(value) == number(value) and abs(number(value)) < float("inf"))
    assert integer(value) is None or integer(value) == value


def test_the_maps_of_a_run(make_run):
    lines = {step: response_map(step, high=None) for step in (10, 0)}
    run = only(make_run("a", maps=lines))
    assert list(run.maps) == [0, 10] and run.problems == ()
    one = run.maps[10]
    assert (one.lows, one.highs) == (LOWS, HIGHS)
    assert [list(row) for row in one.change] == lines[10]["change"]
    assert (one.low, one.high, one.tokens) == (0.2, None, 1100)
    assert (one.kept, one.unclipped) == (lines[10]["predicted"], lines[10]["total_unclipped"])
    assert only(make_run("b")).maps == {}


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1}, {"step": 0.5}, {"step": None}, {"lows": []}, {"lows": [0.1, 0.1, 0.2, 0.3]}, {"lows": None},
        {"lows": [0.4, 0.3, 0.2, 0.1]}, {"lows": [0.1, 0.2, "nan", "inf"]}, {"highs": [0.1, 0.2, "inf", 0.3, "inf"]},
        {"highs": [0.1, 0.2, 0.3, 0.4, 1e9]}, {"highs": list(range(1, maps.MOST_THRESHOLDS + 2))}, {"change": None},
        {"change": [[0.0] * 5] * 3}, {"change": [[0.0] * 4] * 4}, {"change": [0.0] * 4},
    ],
)  # fmt: skip
def test_a_line_that_is_no_map_is_told_and_skipped(make_run, change):
    broken = response_map(5) | change
    run = only(make_run("a", maps={0: response_map(0), 1: broken, 2: response_map(2)}))
    assert list(run.maps) == [0, 2]
    assert run.problems == ("1 line of response.jsonl cut or unreadable, skipped",)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b'{"a": ' + b"9" * 5000, b"\xff\x00\n" * 3, b"null\n" * 2])
def test_a_broken_file_of_maps_takes_nothing_else_along(make_run, content):
    path = make_run("a", steps=3, maps={})
    (path / "response.jsonl").write_bytes(content)
    run = only(path)
    assert (run.maps, len(run.rows), len(run.problems)) == ({}, 3, 1)
    (path / "response.jsonl").unlink()
    (path / "response.jsonl").mkdir()
    assert only(path).maps == {}


def test_cells_that_are_no_finite_numbers_are_missing(make_run):
    rows = [[0.1, None, "1", True, {}], *[[0.0] * 5] * 3]
    run = only(make_run("a", maps={0: response_map(0) | {"change": rows, "in_force": [], "tokens": "x"}}))
    assert run.maps[0].change[0] == (0.1, None, None, None, None)
    assert (run.maps[0].low, run.maps[0].high, run.maps[0].tokens) == (None, None, None)


def test_evaluations_in_the_course_of_a_run(make_run):
    path = make_run("a", between={20: evaluation(0.5, 0.8), 9: evaluation(0.4, 0.9)})
    for name in ("scores-start.json", "scores-007.json", "scores--1.json", "scores-5.json.bak", "xscores-5.json"):
        (path / name).write_text(json.dumps(evaluation(0.1, 0.1)))
    (path / "scores-30.json").write_text("{")
    (path / "scores-31.json").mkdir()
    run = only(path)
    assert [(k, one.scores["mean@32"].value) for k, one in run.between.items()] == [(9, 0.4), (20, 0.5)]
    assert run.problems == ("scores-30.json is not valid JSON",)


def test_of_very_many_evaluations_the_first_are_read(make_run):
    path = make_run("a", steps=1, between={k: {"mean@4": 0.5} for k in range(1, scores.MOST_EVALUATIONS + 20)})
    assert list(only(path).between) == list(range(1, scores.MOST_EVALUATIONS + 1))
