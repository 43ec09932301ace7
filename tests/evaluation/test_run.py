"""Whole evaluations with a real model: kills, resumes, refusals, what is kept."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from entrostat.cli import main
from entrostat.data.benchmarks import Question, load_benchmark
from entrostat.evaluation.backend import Drawn
from entrostat.evaluation.folder import Folder
from entrostat.evaluation.on_transformers import TransformersBackend
from entrostat.evaluation.presets import Sampling
from entrostat.evaluation.run import evaluate
from entrostat.evaluation.settings import Settings
from entrostat.evaluation.watch import Watcher
from entrostat.lab.tasks import make_task
from tiny_benchmark import CONTEXT, made_up_model, write_benchmark

SETTINGS = {"samples": 3, "sampling": Sampling(temperature=0.9, top_k=100), "max_tokens": 10}


class Heard(Watcher):
    def __init__(self, stop_at=None):
        self.warnings, self.notes, self.steps, self.stop_at = [], [], [], stop_at

    def warn(self, text):
        self.warnings.append(text)

    def note(self, text):
        self.notes.append(text)

    def progress(self, benchmark, done, problems):
        self.steps.append(done)
        if done == self.stop_at:
            raise KeyboardInterrupt


def never():
    raise AssertionError("no model is needed")


@pytest.fixture
def run(model_folder, backend, tmp_path):
    def go(out="out", *, load=None, watcher=None, problems=7, **settings):
        path = tmp_path / "b.jsonl"
        if not path.exists():
            write_benchmark(path, problems)
        made = Settings(str(model_folder), **{**SETTINGS, **settings})
        return evaluate(tmp_path / out, [load_benchmark(str(path))], made, load or (lambda: backend), watcher)

    return go


def kept(folder):
    return {file.name: pq.read_table(file).to_pylist() for file in sorted(folder.glob("[0-9]*.parquet"))}


def test_what_is_kept_is_what_is_scored(run, tmp_path):
    found = run()["b"]
    samples = Folder.read(tmp_path / "out" / "b").samples()
    assert sorted(samples) == sorted(f"q{i}" for i in range(7))
    flat = [row for rows in samples.values() for row in rows]
    answers = {q.id: q.answer for q in load_benchmark(str(tmp_path / "b.jsonl")).questions}
    for row in flat:
        box = row.text.rfind("\\boxed{")
        given = row.text[box + 7 : box + 8] if box >= 0 else None
        assert row.answer == given and row.score == float(given == answers[row.id]) and row.error is None
    right = sum(row.score for row in flat)
    assert 0 < right < len(flat)
    assert found["mean@3"]["value"] == pytest.approx(right / len(flat))
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == {"b": found}
    assert "b: " in (tmp_path / "out" / "pass-at-k.svg").read_text()


def test_an_evaluation_that_was_stopped_goes_on_to_the_same_samples(run, tmp_path):
    whole, heard = run("whole"), Heard()
    with pytest.raises(KeyboardInterrupt):
        run("stopped", watcher=Heard(stop_at=4))
    (tmp_path / "stopped" / "b" / ".000099.parquet").write_bytes(b"half")
    before = kept(tmp_path / "stopped" / "b")
    assert len(before) == 2
    assert run("stopped", watcher=heard) == whole
    assert heard.steps == [4, 6, 7]
    assert kept(tmp_path / "stopped" / "b") == kept(tmp_path / "whole" / "b")
    assert run("stopped", load=never) == whole
    assert not list((tmp_path / "stopped" / "b").glob(".*"))


def test_another_batch_gives_the_same_samples_where_the_context_binds_too(run, tmp_path, backend):
    small = TransformersBackend(backend.model, backend.tokenizer, batch=3)
    for out, made in (("six", backend), ("three", small)):
        run(out, load=lambda made=made: made, max_tokens=CONTEXT)
    six, three = (Folder.read(tmp_path / out / "b").samples() for out in ("six", "three"))
    assert {key: [row.text for row in rows] for key, rows in six.items()} == {
        key: [row.text for row in rows] for key, rows in three.items()
    }


def test_sigkill_in_the_middle(model_folder, tmp_path, run):
    write_benchmark(tmp_path / "b.jsonl", 24)
    options = ["--samples", "3", "--temperature", "0.9", "--top-k", "100", "--max-tokens", "10", "--batch", "6"]
    command = [sys.executable, "-m", "entrostat", "evaluate", str(model_folder), *options]
    command += ["--benchmark", str(tmp_path / "b.jsonl"), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("killed/b/[0-9]*.parquet")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(kept(tmp_path / "killed" / "b"))
    assert 0 < left < 12
    assert run("killed") == run("whole")
    assert kept(tmp_path / "killed" / "b") == kept(tmp_path / "whole" / "b")


def test_another_evaluation_is_not_mixed_in(run, tmp_path, model_folder):
    run()
    for change, said in [
        ({"samples": 4}, "samples: 3 there, 4 now"),
        ({"sampling": Sampling()}, "temperature: 0.9 there, 1.0 now"),
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"max_tokens": 9}, "max_tokens: 10 there, 9 now"),
    ]:
        with pytest.raises(ValueError, match=said):
            run(load=never, **change)
    (tmp_path / "b.jsonl").write_text((tmp_path / "b.jsonl").read_text().replace("Count", "Add"))
    with pytest.raises(ValueError, match="questions: "):
        run(load=never)


def test_other_weights_are_another_model_and_a_copy_is_not(tmp_path, backend):
    benchmark = load_benchmark(str(write_benchmark(tmp_path / "b.jsonl", 2)))
    first, copy, other = (made_up_model(tmp_path / name, seed=seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)])
    found = evaluate(tmp_path / "out", [benchmark], Settings(str(first), **SETTINGS), lambda: backend)
    assert evaluate(tmp_path / "out", [benchmark], Settings(str(copy), **SETTINGS), never) == found
    with pytest.raises(ValueError, match="weights: "):
        evaluate(tmp_path / "out", [benchmark], Settings(str(other), **SETTINGS), never)


def test_two_processes_do_not_write_one_folder(tmp_path):
    benchmark = load_benchmark(str(write_benchmark(tmp_path / "b.jsonl", 2)))
    first, second = (Settings("m", seed=seed).record(benchmark) for seed in (0, 1))
    # all look before any writes
    one, same, other = (Folder.open(tmp_path / "out" / "b", record) for record in (first, first, second))
    with (
        one.started(),
        pytest.raises(ValueError, match="b is being written by another process: wait for it"),
        same.started(),
    ):
        pass
    with pytest.raises(ValueError, match=r"holds another evaluation \(seed: 0 there, 1 now\)"), other.started():
        pass
    with same.started():
        pass


def test_a_second_model_is_not_scored_into_the_same_folder(tmp_path, backend):
    first, other = (made_up_model(tmp_path / name, seed=seed) for name, seed in [("a", 0), ("c", 1)])
    benchmarks = [load_benchmark(str(write_benchmark(tmp_path / f"{name}.jsonl", 2))) for name in "bc"]
    evaluate(tmp_path / "out", benchmarks[:1], Settings(str(first), **SETTINGS), lambda: backend)
    with pytest.raises(ValueError, match=r"holds samples of another model .*weights: "):
        evaluate(tmp_path / "out", benchmarks[1:], Settings(str(other), **SETTINGS), never)


def test_nothing_else_is_overwritten(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        run("mine", load=never)
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        run(load=never)


def test_a_damaged_file_is_named(run, tmp_path):
    run()
    file = sorted((tmp_path / "out" / "b").glob("*.parquet"))[1]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{file.name} can't be read"):
        run(load=never)
    file.unlink()
    assert run()["b"]["problems"] == 7


def test_what_is_said_before_anything_is_sampled(run, tmp_path, model_folder, backend):
    path = write_benchmark(tmp_path / "b.jsonl")
    good = path.read_text()
    path.write_text(good + json.dumps({"id": "bad", "problem": "?", "answer": "\\frac{"}) + "\n")
    with pytest.raises(
        ValueError,
        match=r"b\.jsonl, problem 'bad': no completion can match the answer .* by the verifier 'math' \(1 of 8",
    ):
        run(load=never)
    path.write_text(good + json.dumps({"id": "long", "problem": "x" * CONTEXT, "answer": "1"}) + "\n")
    with pytest.raises(ValueError, match=rf"problem 'long': its prompt has \d+ tokens, the model's context {CONTEXT}"):
        run()
    benchmark = load_benchmark(str(write_benchmark(path)))
    with pytest.raises(ValueError, match="two of one name"):
        evaluate(tmp_path / "out", [benchmark, benchmark], Settings(str(model_folder), **SETTINGS), never)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_can_not_spell_the_prompts(tmp_path, run):
    import entrostat.lab

    folder = Path(entrostat.lab.__file__).parent / "models" / "countdown"
    with pytest.raises(ValueError, match="tokenizer can't spell"):
        run(load=lambda: TransformersBackend.load(str(folder)))


def test_what_a_model_lacks_is_said(run, tmp_path):
    heard = Heard()
    run(watcher=heard, max_tokens=CONTEXT)
    assert any("no chat template" in said for said in heard.warnings)
    assert any(f"context of {CONTEXT} leaves" in said for said in heard.warnings)
    samples = Folder.read(tmp_path / "out" / "b").samples()
    assert max(row.tokens for rows in samples.values() for row in rows) < CONTEXT


def test_one_answer_of_many_that_nothing_matches_is_warned_of(run, tmp_path, backend, model_folder):
    import dataclasses

    benchmark = load_benchmark(str(write_benchmark(tmp_path / "b.jsonl", 19)))
    bad = (*benchmark.questions, Question("bad", "?", "\\frac{"))
    heard = Heard()
    published = dataclasses.replace(benchmark, questions=bad)
    found = evaluate(tmp_path / "out", [published], Settings(str(model_folder), **SETTINGS), lambda: backend, heard)
    assert found["b"]["problems"] == 20
    assert "1 of 20 answers that no completion can match, counted as wrong: bad" in heard.warnings[0]


def test_the_command(model_folder, tmp_path, capsys):
    path = write_benchmark(tmp_path / "b.jsonl", 3)
    other = write_benchmark(tmp_path / "c.jsonl", 2)
    command = ["evaluate", str(model_folder), "--samples", "2", "--max-tokens", "6", "--out", str(tmp_path / "out")]
    command += ["--preset", "2602.09782", "--top-k", "50", "--json", "--benchmark", str(path)]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["benchmarks"]) == ["b"]
    assert main([*command, str(other)]) == 0
    assert json.loads(capsys.readouterr().out)["benchmarks"]["b"] == found["benchmarks"]["b"]
    assert main([*command[:-1], str(write_benchmark(tmp_path / "a.jsonl", 2))]) == 0
    assert list(json.loads(capsys.readouterr().out)["benchmarks"]) == ["a"]
    kept = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(kept) == ["a", "b", "c"] and kept["b"] == found["benchmarks"]["b"]
    assert all(f"{name}: " in (tmp_path / "out" / "pass-at-k.svg").read_text() for name in kept)
    record = json.loads((tmp_path / "out" / "c" / "settings.json").read_text())
    assert (record["temperature"], record["top_p"], record["top_k"]) == (0.7, 0.8, 50)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["m", "--out", "x"], "--out goes with --benchmark"),
        (["m", "--top-k", "3"], "--top-k goes with --benchmark"),
        (["m", "--benchmark", "b.jsonl", "--problems", "3"], "--problems goes without --benchmark"),
        (["m", "--benchmark", "b.jsonl"], "--benchmark 'b.jsonl' is no file"),
        (["m", "--benchmark", "b.jsonl", "--samples", "0"], "--samples must be at least 1"),
        (["m", "--benchmark", "b.jsonl", "--batch", "0"], "--batch must be at least 1"),
        (["m", "--benchmark", "b.jsonl", "--temperature", "0"], "--temperature must be positive"),
        (["m", "--wording", "none"], "--wording goes with --benchmark"),
        (["m", "--benchmark", "b.jsonl", "--wording", "box"], "--wording can't be 'box'"),
    ],
)
def test_options_that_do_not_go(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *args]) == 2
    assert said in capsys.readouterr().err


def test_right_answers_to_gsm8k_with_renamed_columns_are_right(tmp_path, backend, model_folder):
    """The worked solution is the answer: a model that writes the number alone was scored 0 everywhere."""
    rows = [{"problem": f"{i}?", "answer": f"1 + {i} = {1 + i} of them.\n#### {1 + i}"} for i in range(2)]
    path = tmp_path / "b.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(str(model_folder), **SETTINGS)

    class Right:
        """Writes what the prompt asks for."""

        def __init__(self):
            self.tokenizer, self.context, self.batch = backend.tokenizer, None, 6

        def generate(self, prompts, n, sampling, max_tokens):
            first = [int(self.tokenizer.decode(prompt.ids)[0]) for prompt in prompts]
            return [[Drawn(f"The answer is {1 + i}.", 3, 0.1, True)] * n for i in first]

    heard = Heard()
    found = evaluate(tmp_path / "out", [load_benchmark(str(path))], settings, Right, heard)
    assert found["b"]["mean@3"]["value"] == 1.0
    assert heard.notes == ["b: read as problem=problem,answer=answer; verifier last-number; wording gsm8k"]
    for verifier in ("math", "dapo"):
        with pytest.raises(ValueError, match=r"\(2 of 2 such\): it is a worked solution: --verifier last-number"):
            evaluate(tmp_path / verifier, [load_benchmark(str(path), verifier=verifier)], settings, never)


@pytest.mark.parametrize("name", ["chain", "times"])
def test_a_model_of_few_characters_on_a_file_of_its_own_task(name, tmp_path, capsys):
    """The same problems as `--task` gives the same share of right answers, but for the sampler's noise."""
    task = make_task(name)
    problems = task.problems(24, split="test", seed=0)
    rows = [{"prompt": p.prompt, "answer": task.solve(p, random.Random(0))} for p in problems]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["evaluate", str(task.base_model), "--samples", "8", "--max-tokens", "24", "--out", str(tmp_path / "out")]
    command += ["--benchmark", str(path), "--verifier", "exact", "--wording", "none", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)["benchmarks"]["own"]
    right = 0
    by_id = dict(zip([str(i) for i in range(24)], problems, strict=True))
    for key, samples in Folder.read(tmp_path / "out" / "own").samples().items():
        right += sum(task.score(by_id[key], row.text) for row in samples)
    assert 0 < right < 24 * 8
    assert found["mean@8"]["value"] == pytest.approx(right / (24 * 8))
