"""What curves stand over: the sums, means and units of tokens and time, and what is said where a log has none."""

import json
import sqlite3

import pytest
from torch.utils.tensorboard import SummaryWriter

from entrostat.cli import main
from entrostat.report import View, read_runs, write_page
from entrostat.report.axes import axes, not_drawn, places, run_seconds, run_tokens
from entrostat.report.figures import entropy


def verl_log(path, rows):
    lines = [json.dumps({"step": step, "data": {"actor/entropy": 0.4, **data}}) for step, data in rows.items()]
    path.write_text("\n".join(lines))
    return path


def the_run(path):
    (run,) = read_runs([path])
    return run


def test_a_log_of_sums_is_taken_as_it_is(tmp_path):
    rows = {5: {"num_tokens": 100.0, "_runtime": 9.0}, 10: {"num_tokens": 250.0, "_runtime": 21.0}}
    run = the_run(verl_log(tmp_path / "a.jsonl", rows))
    assert run_tokens(run) == {5: 100.0, 10: 250.0}
    assert run_seconds(run) == {5: 9.0, 10: 21.0}


def test_what_each_step_took_is_summed_over_the_steps_that_were_not_logged(tmp_path):
    took = {"perf/total_num_tokens": 10.0, "perf/time_per_step": 2.0}
    run = the_run(verl_log(tmp_path / "a.jsonl", {10: took, 20: took, 25: took}))
    # ten steps to the first line, ten to the second, five to the third
    assert run_tokens(run) == {10: 100.0, 20: 200.0, 25: 250.0}
    assert run_seconds(run) == {10: 20.0, 20: 40.0, 25: 50.0}


def test_one_line_alone_counts_for_one_step(tmp_path):
    run = the_run(verl_log(tmp_path / "a.jsonl", {7: {"perf/total_num_tokens": 10.0}}))
    assert run_tokens(run) == {7: 10.0}


def test_a_clock_counts_from_its_first_line(tmp_path):
    run = the_run(verl_log(tmp_path / "a.jsonl", {1: {"_timestamp": 1.7e9}, 2: {"_timestamp": 1.7e9 + 30}}))
    assert run_seconds(run) == {1: 0.0, 2: 30.0}


def test_the_clock_of_trackio(tmp_path):
    database = sqlite3.connect(tmp_path / "project.db")
    database.execute("CREATE TABLE metrics (id INTEGER, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)")
    rows = [(1, "2026-01-01T10:00:00"), (2, "2026-01-01T10:01:30"), (3, "a while later")]
    for step, at in rows:
        database.execute("INSERT INTO metrics VALUES (1, ?, 'a', ?, ?)", (at, step, '{"entropy": 0.4}'))
    database.commit()
    database.close()
    run = the_run(tmp_path / "project.db")
    assert list(run.known("entropy")) == [1, 2, 3]
    assert run_seconds(run) == {1: 0.0, 2: 90.0}


def test_the_clock_of_tensorboard(tmp_path):
    with SummaryWriter(str(tmp_path / "tb")) as writer:
        for step in (1, 2):
            writer.add_scalar("actor/entropy", 0.4, step, walltime=1.7e9 + 60 * step)
            writer.add_scalar("lr", 1e-6, step + 10, walltime=1.7e9 + 60 * (step + 10))
    run = the_run(tmp_path / "tb")
    assert run_seconds(run) == {1: 0.0, 2: 60.0}  # steps of other numbers are no rows


def test_sums_past_a_float_are_no_place(tmp_path):
    run = the_run(verl_log(tmp_path / "a.jsonl", {k: {"perf/total_num_tokens": 1e308} for k in (1, 2, 3)}))
    assert run_tokens(run) == {1: 1e308}
    json.dumps(places([run]), allow_nan=False)


def test_an_entrostat_run_has_its_timing_and_the_tokens_that_it_sampled(make_run):
    path = make_run("a", steps=3)
    rows = [
        json.loads(line) | {"completion_length": 10.0} for line in (path / "metrics.jsonl").read_text().splitlines()
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "timing.jsonl").write_text("".join(f'{{"step": {k}, "seconds": {k + 1}}}\n' for k in range(3)) + '{"st')
    run = the_run(path)
    assert run_tokens(run) == {0: 5120.0, 1: 10240.0, 2: 15360.0}  # 32 prompts x 16 samples x 10 tokens
    assert run_seconds(run) == {0: 1.0, 1: 3.0, 2: 6.0}
    assert run.problems == ("1 line of timing.jsonl cut or unreadable, skipped",)
    assert places([run])["g0-0"]["time"] == pytest.approx([1 / 60, 3 / 60, 6 / 60], rel=1e-5)


def test_time_is_in_hours_where_a_run_is_long(tmp_path):
    runs = [the_run(verl_log(tmp_path / f"{k}.jsonl", {1: {"_runtime": k}})) for k in (3 * 3600, 3 * 3600 + 1)]
    assert [axis.title for axis in axes(runs[:1], "step")][2] == "time, minutes"
    assert [axis.title for axis in axes(runs[1:], "step")][2] == "time, hours"
    assert places(runs[1:])["g0-0"]["time"] == pytest.approx([3.0], rel=1e-3)


def test_each_line_has_a_place_and_a_mean_that_of_its_seeds(make_run):
    paths = [make_run(f"{seed}", seed=seed, steps=4) for seed in range(2)]
    for seed, path in enumerate(paths):
        lines = (f'{{"step": {k}, "seconds": {60 * (seed + 1)}}}\n' for k in range(4))
        (path / "timing.jsonl").write_text("".join(lines))
    runs = read_runs(paths)
    at = places(runs)
    assert at["g0-0"]["time"] == [1, 2, 3, 4] and at["g0-1"]["time"] == [2, 4, 6, 8]
    assert at["g0"]["time"] == [1.5, 3, 4.5, 6]
    assert [trace["meta"]["at"] for trace in entropy(runs).data] == ["g0-0", "g0-1", "g0"]


def test_a_run_without_the_column_is_named(make_run, tmp_path, capsys):
    timed = make_run("a", "grpo", steps=3)
    (timed / "timing.jsonl").write_text('{"step": 0, "seconds": 1}\n{"step": 1, "seconds": 1}\n')
    other = make_run("b", "id", steps=3)
    assert not_drawn(read_runs([timed, other]), "time") == ("id, seed 0",)
    out = tmp_path / "pages" / "r.html"
    assert main(["report", str(timed), str(other), "--x", "time", "--out", str(out)]) == 0
    assert "entrostat: warning: id, seed 0 is not drawn: its log has no time" in capsys.readouterr().err
    html = out.read_text(encoding="utf-8")
    assert "Not drawn over time, minutes, which their logs do not have: <bdi>id, seed 0</bdi>." in html
    assert '<option value="time" selected>' in html


def test_an_axis_that_no_run_has_is_refused_and_nothing_is_written(make_run, tmp_path, capsys):
    out = tmp_path / "pages" / "r.html"
    assert main(["report", str(make_run("a")), "--x", "tokens", "--out", str(out)]) == 2
    assert "--x tokens: no log of these runs has a number of tokens" in capsys.readouterr().err
    assert not out.parent.exists()
    with pytest.raises(ValueError, match="--x time: no log"):
        write_page(read_runs([tmp_path / "a"]), out, view=View(x="time"))


def test_a_smoothing_under_one_is_refused(make_run, capsys):
    assert main(["report", str(make_run("a")), "--smooth", "0"]) == 2
    assert "--smooth must be at least 1, got 0" in capsys.readouterr().err
