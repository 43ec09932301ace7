"""`entrostat compare` through the real command: the table, the choice of settings, stopping and resuming, bad words."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from entrostat.estimate import hierarchical_interval, seed_interval
from entrostat.files import held
from entrostat.lab import compare
from entrostat.lab.config import TrainConfig
from entrostat.lab.evaluate import held_out, validation
from entrostat.lab.methods import make_method
from entrostat.lab.rows import _column
from entrostat.lab.run import Run
from entrostat.lab.tasks import make_task

THREADS = max(1, (os.cpu_count() or 1) // 2)
AT_ONCE = (os.cpu_count() or 1) // THREADS
TINY = [
    *("--steps", "2", "--prompts", "2", "--samples", "2", "--updates-per-rollout", "2", "--map-every", "0"),
    *("--eval-problems", "2", "--eval-samples", "2"),
]


def test_two_methods_in_one_table(command):
    words = ["grpo", "clip-lower --low 0.02"]
    done = command.run("compare", *words, "--seeds", "1", *TINY, "--target", "0.35", "--out", "c", "--json")
    found = json.loads(done.stdout)
    assert [row["method"] for row in found["rows"]] == ["grpo", "clip-lower low 0.02"]
    assert [row["word"] for row in found["rows"]] == words
    for row, folder in zip(found["rows"], ["1-grpo-seed0", "2-clip-lower-seed0"], strict=True):
        assert row["runs"] == [f"c/{folder}"]
        summary = json.loads((command.folder / "c" / folder / "summary.json").read_text())
        assert row["mean@2"]["value"] == summary["mean@2"]["value"]
        assert row["pass@2"]["value"] == summary["pass@2"]["value"]
        assert row["seconds"] == {"value": summary["seconds"], "low": None, "high": None, "best": False}
        late = command.lines(f"c/{folder}")[1:]
        error = statistics.fmean(abs(line["entropy"] - 0.35) / 0.35 for line in late)
        assert row["entropy_error"]["value"] == pytest.approx(error)
    assert "<html" in (command.folder / "c" / "report.html").read_text()[:400]
    # a finished one is read again, as a table
    again = command.run("compare", "--resume", "c")
    assert "2 held-out problems" in again.stdout
    assert "clip-lower low 0.02" in again.stdout


def test_one_process_at_a_time_writes_a_comparison(command, monkeypatch):
    both = threading.Barrier(2)

    def checked(*args):
        real(*args)
        both.wait(60)  # both have looked, and the folder was free

    real = compare._check
    monkeypatch.setattr(compare, "_check", checked)
    config = TrainConfig(steps=1, prompts=2, samples=2, updates_per_rollout=2, eval_problems=2, eval_samples=2)
    made = lambda seeds: compare.Comparison.create(  # noqa: E731
        Path("c"), [compare.Entry("grpo", make_method("grpo"))], config, seeds=seeds, target=None, command=""
    )
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(made, seeds) for seeds in (1, 2)]
        refused = [one.exception() for one in found if one.exception() is not None]
    assert [str(one) for one in refused] == ["c is not empty: choose another --out, or continue with --resume c"]
    (written,) = (one.result() for one in found if one.exception() is None)
    assert json.loads(Path("c/compare.json").read_text())["seeds"] == written.seeds
    with held(Path("c")):
        told = command.run("compare", "--resume", "c", code=2).stderr
    assert told.strip() == "entrostat: c is being run by another process: wait for it, or stop it"


@pytest.mark.slow
def test_the_best_of_three_settings_takes_part_and_a_stop_loses_nothing(command):
    start = ("compare", "trl:cispo", "--seeds", "1", *TINY, "--out", "c")
    process = command.start(*start)
    command.wait_for(process, "c/choice/1-trl-cispo-1-seed1000/metrics.jsonl")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)  # its end is that of the workers, who hold the pipes
    assert not (command.folder / "c" / "1-trl-cispo-seed0").exists()
    row = json.loads(command.run("compare", "--resume", "c", "--json").stdout)["rows"][0]
    choice = row["choice"]
    scores = []
    for k in range(1, 4):
        each = []
        for seed in (1000, 1001):
            folder = command.folder / "c" / "choice" / f"1-trl-cispo-{k}-seed{seed}"
            assert json.loads((folder / "config.json").read_text())["eval_split"] == "validation"
            summary = json.loads((folder / "summary.json").read_text())
            each.append(summary["mean@2"]["value"] + summary["pass@2"]["value"])
        scores.append(statistics.fmean(each))
    assert choice["scores"] == scores
    assert choice["chosen"] == scores.index(max(scores))
    assert choice["settings"][choice["chosen"]] == row["method"]
    assert json.loads((command.folder / "c" / "compare.json").read_text())["methods"][0]["choice"]["scores"] == scores
    config = json.loads((command.folder / "c" / "1-trl-cispo-seed0" / "config.json").read_text())
    assert config["label"] == row["method"]
    assert config["eval_split"] == "test"


def test_ctrl_c_stops_all_runs_and_begins_no_other(command):
    """As many runs as go at once, and one more, which waits. A terminal sends Ctrl-C to the whole group."""
    long = [word.replace("2", "200") if i == 1 else word for i, word in enumerate(TINY)]
    words = [sys.executable, "-m", "entrostat", "compare", "grpo", *long, "--out", "c"]
    words += ["--seeds", str(1 + AT_ONCE), "--threads", str(THREADS)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for seed in range(AT_ONCE):
        command.wait_for(process, f"c/1-grpo-seed{seed}/metrics.jsonl")
    os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 130, log
    assert log.strip().splitlines()[-1] == "entrostat: stopped; to go on: entrostat compare --resume c"
    states = [Run(command.folder / "c" / f"1-grpo-seed{seed}").state for seed in range(1 + AT_ONCE)]
    assert all(0 < state["rollouts"] < 200 for state in states[:-1])
    assert states[-1]["rollouts"] == 0


@pytest.mark.slow
def test_a_method_with_a_target_is_chosen_by_its_distance_to_it(command):
    start = ("compare", "objective:entropic --threshold 0.5", "--target", "0.2", "--seeds", "1", *TINY, "--out", "c")
    done = command.run(*start, "--learning-rate", "1e-2", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    scores = []
    for k in range(1, 4):
        late = [command.lines(f"c/choice/1-objective-entropic-{k}-seed{seed}")[1] for seed in (1000, 1001)]
        assert all(line["target"] == 0.2 for line in late)
        scores.append(statistics.fmean(abs(line["entropy"] - 0.2) for line in late))
    assert row["choice"]["scores"] == pytest.approx(scores)
    assert row["choice"]["chosen"] == scores.index(min(scores))
    assert len(set(scores)) > 1
    assert row["method"].startswith("objective:entropic target 0.2")
    assert row["method"].endswith("threshold 0.5")


def test_a_word_that_gives_a_setting_has_chosen(command):
    command.run("compare", "trl:sapo --temperature-neg=2", "--seeds", "1", *TINY, "--out", "c")
    assert sorted(p.name for p in (command.folder / "c").iterdir()) == [
        "1-trl-sapo-seed0",
        "compare.json",
        "report.html",
    ]


def test_validation_problems_are_not_held_out():
    for name in ("countdown", "path"):
        task = make_task(name)
        assert not {p.key for p in validation(task, 200)} & {p.key for p in held_out(task, 200)}


def test_bold_is_the_row_whose_difference_to_every_other_is_sure():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.8, size=60)
    score = lambda shift: np.clip(hard + shift + rng.normal(0, 0.02, (3, 60)), 0, 1)  # noqa: E731
    low, middle, high = score(0.0), score(0.03), score(0.06)
    assert [cell["best"] for cell in _column([low, high, middle], max)] == [False, True, False]
    assert [cell["best"] for cell in _column([low, high, middle], min)] == [True, False, False]
    # each alone has a wide interval: only the paired difference tells them apart
    cells = _column([low, high], max)
    assert cells[0]["high"] > cells[1]["low"]
    assert (cells[0]["value"], cells[0]["low"], cells[0]["high"]) == pytest.approx(hierarchical_interval(low))
    assert not any(cell["best"] for cell in _column([low, high, high + rng.normal(0, 0.02, (3, 60))], max))
    assert not any(cell["best"] for cell in _column([low[:1], high[:1]], max)), "one seed knows no noise of training"
    seconds = _column([np.array([1.0, 1.1, 1.2]), np.array([5.0, 5.2, 5.1]), None], min)
    assert [cell and cell["best"] for cell in seconds] == [True, False, None]
    assert (seconds[0]["low"], seconds[0]["high"]) == seed_interval([1.0, 1.1, 1.2])[1:]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["clip-lowr"], "unknown method 'clip-lowr': did you mean clip-lower"),
        (["trl:sap"], "unknown method 'trl:sap': did you mean trl:sapo"),
        (["grpo", "clip-lower --lo 0.1"], "unknown option '--lo': did you mean --low"),
        (["clip-lower --low much"], "--low"),
        (["grpo --low -1"], "low must be at least 0"),
        (["clip-lower --low '0.1"], "is no method with its options"),
        ([""], "is no method with its options"),
        (["grpo", "grpo"], "'grpo' is given twice"),
        ([], "no method given"),
        (["grpo", "--seeds", "0"], "--seeds must be from 1 to 1000, got 0"),
        (["grpo", "--target", "0"], "--target must be over 0 nats, got 0.0"),
        (["grpo", "--stps", "3"], "unknown option '--stps': did you mean --steps"),
        (["grpo", "--eval-problems", "9999"], "countdown has 297 test problems"),
        (["grpo", "trl:gspo", "--updates-per-rollout", "1"], "'grpo' cannot act"),
        (["--resume", "nowhere"], "nowhere holds no comparison"),
        (["--resume", "nowhere", "grpo"], "--resume takes no other option"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(command, args, said):
    done = command.run("compare", *args, code=2)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert not list(command.folder.iterdir())


def test_a_folder_that_holds_something_is_left_alone_and_a_damaged_plan_is_named(command):
    (command.folder / "c").mkdir()
    (command.folder / "c" / "compare.json").write_text('{"methods": [{}], "config": {}}')
    assert "c is not empty" in command.run("compare", "grpo", "--out", "c", code=2).stderr
    assert "compare.json is no plan of a comparison" in command.run("compare", "--resume", "c", code=2).stderr
