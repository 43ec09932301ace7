"""Runs of other programs: files that TRL and TensorBoard have written, trackio's tables, verl's lines as its loggers
print them (tests/with_verl/test_report.py has verl write them), and exports of trackers."""

import json
import sqlite3

import pytest
from torch.utils.tensorboard import SummaryWriter

import entrostat
from entrostat.cli import main
from entrostat.report import load_run, read_runs, write_csv, write_report
from entrostat.report.metric_names import in_our_names
from entrostat.report.results import score_names, terms
from entrostat.report.story import happened

FALL = [0.43, 0.40, 0.30, 0.20, 0.15, 0.12, 0.11, 0.11, 0.11, 0.11]


def verl_line(step, entropy):
    data = {
        "actor/entropy": entropy,
        "actor/pg_clipfrac": 0.0006,
        "actor/ppo_kl": 2e-4,
        "critic/score/mean": 0.2 + step / 50,
    }
    return {"step": step, "data": data | {"response_length/mean": 120.5, "prompt": "not a number"}}


def test_a_real_trl_run(trl_run):
    run = load_run(trl_run)
    state = json.loads(max(trl_run.glob("checkpoint-*/trainer_state.json")).read_text())
    logged = [line for line in state["log_history"] if "entropy" in line]
    assert len(logged) == 3
    assert run.known("entropy") == {line["step"]: line["entropy"] for line in logged}
    assert run.known("reward") == {line["step"]: line["reward"] for line in logged}
    assert run.known("clip_low") == {line["step"]: line["clip_ratio/low_mean"] for line in logged}
    assert run.known("length") == {line["step"]: line["completions/mean_length"] for line in logged}
    assert run.foreign and run.label == trl_run.name


@pytest.fixture(scope="module")
def trl_run(tmp_path_factory):
    """The output folder of stock TRL after three steps of a tiny model."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from entrostat.lab.tasks import make_task

    task = make_task("chain")
    folder = tmp_path_factory.mktemp("trl-output")
    args = GRPOConfig(
        output_dir=str(folder), max_steps=3, per_device_train_batch_size=4, num_generations=2, max_completion_length=8,
        logging_steps=1, save_steps=1, report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=str(task.base_model),
        processing_class=AutoTokenizer.from_pretrained(task.base_model),
        reward_funcs=lambda completions, **_: [float(len(text) % 2) for text in completions],
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["1+2+3=", "4+5+6="] * 4}),
    )
    trainer.train()
    return folder


def test_verls_file_logger(tmp_path):
    lines = [json.dumps(verl_line(step, entropy)) for step, entropy in enumerate(FALL, 1)]
    (tmp_path / "qwen.jsonl").write_text("\n".join(lines) + '\n{"step": 11, "da')
    run = load_run(tmp_path / "qwen.jsonl")
    assert run.label == "qwen"
    assert list(run.known("entropy").values()) == FALL
    assert run.known("policy_kl")[1] == 2e-4
    assert happened(run) == (
        "entropy fell from 0.43 to 0.11 in 10 steps, most of it before step 5; reward went from 0.22 to 0.40; "
        "0.06% of tokens clipped: clip settings can hardly act here"
    )


def test_verls_console_with_rays_prefix_and_colours(tmp_path):
    lines = ["Training Progress:   0%|          | 0/3", "\x1b[36m(TaskRunner pid=71)\x1b[0m some words step:x - y"]
    for step in (1, 2, 3):
        numbers = f"actor/entropy:{0.4 / step} - actor/pg_clipfrac:np.float64(0.001) - timing_s/step:12.5"
        numbers += " - critic/score/mean:0.5\x1b[0m"
        lines.append(f"\x1b[36m(TaskRunner pid=71)\x1b[0m step:{step} - {numbers}")
    (tmp_path / "slurm-1.out").write_text("\n".join(lines))
    run = load_run(tmp_path)
    assert run.known("entropy") == {1: 0.4, 2: 0.2, 3: 0.4 / 3}
    assert run.known("clipped") == {1: 0.001, 2: 0.001, 3: 0.001}
    assert run.known("seconds_of_step")[2] == 12.5
    assert run.known("reward")[3] == 0.5


def test_tensorboard_events(tmp_path):
    folder = tmp_path / "runs" / "Nov26_host"
    with SummaryWriter(str(folder)) as writer:
        for step, entropy in enumerate(FALL):
            writer.add_scalar("train/entropy", entropy, step)
            writer.add_scalar("train/clip_ratio/low_mean", 0.0, step)
            writer.add_scalar("train/clip_ratio/high_mean", 0.0, step)
    run = load_run(tmp_path)
    assert list(run.known("entropy").values()) == pytest.approx(FALL)
    assert "nothing is clipped, so clip settings do nothing" in happened(run)


def test_a_csv_of_several_runs_from_a_trackers_page(tmp_path):
    of_first = '"lr-1e-6 - actor/entropy","lr-1e-6 - actor/entropy__MIN","lr-1e-6 - actor/entropy__MAX"'
    head = f'"Step",{of_first},"b - actor/entropy"'
    (tmp_path / "export.csv").write_text(head + '\n"1","0.5","0.5","0.5","0.4"\n"2","0.25","0.25","0.25",""\n')
    runs = {run.label: run for run in read_runs([tmp_path / "export.csv"])}
    assert runs["lr-1e-6"].known("entropy") == {1: 0.5, 2: 0.25}
    assert runs["b"].known("entropy") == {1: 0.4}


def test_trackios_database(tmp_path):
    with sqlite3.connect(tmp_path / "project.db") as database:
        database.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, "
            "timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL, "
            "log_id TEXT, space_id TEXT)"
        )
        for step in range(3):
            values = (
                "r",
                "2026-11-26T00:00:00",
                "dainty-sunset-0",
                step,
                json.dumps({"train/entropy": 0.5 - step / 10}),
            )
            database.execute(
                "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)", values
            )
    database.close()
    run = load_run(tmp_path)
    assert run.label == "dainty-sunset-0"
    assert run.known("entropy") == pytest.approx({0: 0.5, 1: 0.4, 2: 0.3})
    assert [path.name for path in tmp_path.iterdir()] == ["project.db"]


def test_the_samplers_entropy_goes_before_that_of_the_updates():
    assert in_our_names({"entropy": 0.1, "entrostat/entropy": 0.2})["entropy"] == 0.2
    assert in_our_names({"train/actor/entropy": 0.3, "entropy": 0.1})["entropy"] == 0.3


def test_the_table_of_a_log_says_what_it_is_of(tmp_path):
    lines = [json.dumps(verl_line(step, entropy)) for step, entropy in enumerate(FALL, 1)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    runs = read_runs([tmp_path / "x.jsonl"])
    assert score_names(runs) == ()
    assert [term for term, _ in terms(runs)] == ["entropy"]
    assert runs[0].entropies() == (FALL[0], FALL[-1])


def test_a_folder_of_runs(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "log.jsonl").write_text(json.dumps(verl_line(1, 0.4)) + "\n" + json.dumps(verl_line(2, 0.3)))
    assert [run.label for run in read_runs([tmp_path])] == ["a/log", "b/log"]
    with pytest.raises(ValueError, match="holds 2 runs"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.md", b"step:1", "holds no numbers of a run"),
        ("empty.jsonl", b"", "holds no numbers of a run"),
        ("noise.csv", b"a,b\n1,2\n", "holds no numbers of a run"),
        ("trainer_state.json", b"{", "is not valid JSON"),
        ("run-x.wandb", b"\x00\x01", "export the run's charts as CSV"),
    ],
)
def test_what_is_no_log_is_said(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_runs([tmp_path / name])


def test_a_log_without_entropy_says_what_it_has(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"step": 1, "data": {"critic/score/mean": 0.5, "actor/lr": 1e-6}}\n')
    run = load_run(tmp_path)
    assert run.problems == ("x.jsonl has no entropy; it has actor/lr, critic/score/mean",)
    assert happened(run) == ""


def test_the_page_tells_the_story_first_and_hostile_names_are_text(tmp_path):
    name = "<script>alert(1)<script>"
    rows = [f'"{step}","{value}"' for step, value in enumerate(FALL)]
    (tmp_path / "export.csv").write_text(f'"Step","{name} - actor/entropy"\n' + "\n".join(rows))
    page = write_report([tmp_path / "export.csv"], tmp_path / "r.html").read_text()
    assert "entropy fell from 0.43 to 0.11 in 10 steps" in page
    assert name not in page
    assert page.index("entropy fell") < page.index('id="results"')
    shown = entrostat.load_run(tmp_path / "export.csv")._repr_html_()
    assert name not in shown and "entropy fell" in shown


def test_the_numbers_as_csv_and_the_command(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(verl_line(step, 0.4 / step)) for step in (1, 2)))
    assert (
        main(["report", str(tmp_path / "x.jsonl"), "--out", str(tmp_path / "r.html"), "--csv", str(tmp_path / "n.csv")])
        == 0
    )
    assert "x: entropy fell from 0.40 to 0.20 in 2 steps" in capsys.readouterr().err
    head, first, _ = (tmp_path / "n.csv").read_text().splitlines()
    assert dict(zip(head.split(","), first.split(","), strict=True))["entropy"] == "0.4"
    with pytest.raises(FileExistsError):
        write_csv(read_runs([tmp_path / "x.jsonl"]), tmp_path / "n.csv")
