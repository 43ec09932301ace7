"""`entrostat train --dataset` through the real command, on a tiny Qwen2 with a chat template."""

import json

import pytest

from entrostat.engines.reward_error import RewardError
from entrostat.lab.config import TrainConfig
from entrostat.lab.load import load_tokenizer
from entrostat.lab.rewards import make_reward
from entrostat.lab.run import Run
from entrostat.lab.source import make_source
from hub_files import sums, write_dapo, write_gsm8k
from tiny_models import tiny_model

DAPO = ("--columns", "problem=prompt,answer=reward_model.ground_truth", "--verifier", "dapo")


@pytest.fixture
def data(command, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", command.folder / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    tiny_model(command.folder / "model", "qwen2")
    write_dapo(command.folder / "dapo")
    return command


def options(*args):
    small = ("--steps", "4", "--prompts", "2", "--samples", "4", "--updates-per-rollout", "2", "--save-every", "2")
    held_out = ("--eval-problems", "2", "--eval-samples", "2")
    return ("train", *small, *held_out, "--max-completion", "6", "--model", "model", *args, "grpo")


def test_a_run_on_a_data_set_says_what_it_was(data):
    done = data.run(*options("--dataset", "./dapo", *DAPO, "--out", "run"))
    assert "40 of 120 training rows kept; dropped 80 (repeated)" in done.stderr
    config = json.loads((data.folder / "run" / "config.json").read_text())
    assert config["dataset"] == "./dapo" and config["data"]["counts"]["train"] == 40
    assert len(config["data"]["fingerprint"]) == 64
    assert {line["reward"] for line in data.lines("run")} == {0.0}
    assert {line["unscored"] for line in data.lines("run")} == {0.0}
    assert all(line["completion_length"] <= 6 for line in data.lines("run"))
    (data.folder / "run" / "summary.json").unlink()
    data.run("train", "--resume", "run")
    write_dapo(data.folder / "other", n=41)
    (data.folder / "run" / "summary.json").unlink()
    for file in (data.folder / "dapo" / "data").iterdir():
        file.write_bytes((data.folder / "other" / "data" / file.name).read_bytes())
    told = data.run("train", "--resume", "run", code=2).stderr
    assert "./dapo is not what it was when run began (fingerprint: " in told
    assert "'train': 40" in told and "'train': 41" in told


def test_a_benchmark_that_can_be_had_no_longer_is_no_other_data_set(data):
    """As where the hub had it when the run began: its problems are none of these."""
    data.run(*options("--dataset", "./dapo", *DAPO, "--out", "run"))
    config = json.loads((data.folder / "run" / "config.json").read_text())
    config["data"]["counts"]["dropped"]["aime24"] = 0
    (data.folder / "run" / "config.json").write_text(json.dumps(config))
    (data.folder / "run" / "summary.json").unlink()
    data.run("train", "--resume", "run")
    assert (data.folder / "run" / "summary.json").exists()


def test_a_run_that_a_verifier_stopped_goes_on_by_the_command_that_it_names(data, monkeypatch):
    # no answer comes in no time: each sample is one that hangs
    monkeypatch.setattr("entrostat.lab.source.TIMEOUT", 1e-9)
    small = ("--steps", "1", "--prompts", "1", "--out", "run")
    for again in (options("--dataset", "./dapo", *DAPO, *small), ("train", "--resume", "run")):
        told = data.run(*again, code=2).stderr.strip().splitlines()[-1]
        assert told.endswith("to go on without such samples, entrostat train --resume run --on-verifier-error skip")
    assert "--steps" in data.run("train", "--resume", "run", "--steps", "2", code=2).stderr
    data.run(*told.partition("entrostat ")[2].split())
    assert json.loads((data.folder / "run" / "config.json").read_text())["on_verifier_error"] == "skip"
    assert data.lines("run")[0]["unscored"] == 1.0
    assert (data.folder / "run" / "summary.json").exists()


def test_a_comparison_that_a_verifier_stopped_goes_on_by_the_command_that_it_names(data, monkeypatch):
    monkeypatch.setattr("entrostat.lab.source.TIMEOUT", 1e-9)
    _, *words, method = options("--dataset", "./dapo", *DAPO, "--steps", "1", "--prompts", "1")
    told = data.run("compare", *words, "--seeds", "1", "--out", "c", method, code=2).stderr.strip().splitlines()[-1]
    assert told.endswith("entrostat compare --resume c --on-verifier-error skip")
    data.run(*told.partition("entrostat ")[2].split())
    assert json.loads((data.folder / "c" / "compare.json").read_text())["config"]["on_verifier_error"] == "skip"
    assert json.loads((data.folder / "c" / "1-grpo-seed0" / "config.json").read_text())["on_verifier_error"] == "skip"


def test_a_run_without_a_verifier_or_in_training_keeps_what_it_was_told(data):
    data.run("train", *data.small, "--steps", "1", "--out", "lab", "grpo")
    (data.folder / "lab" / "summary.json").unlink()
    before = (data.folder / "lab" / "config.json").read_bytes()
    change = ("train", "--resume", "lab", "--on-verifier-error", "skip")
    assert "--on-verifier-error skip needs --dataset" in data.run(*change, code=2).stderr
    data.run(*options("--dataset", "./dapo", *DAPO, "--steps", "1", "--out", "run"))
    (data.folder / "run" / "summary.json").unlink()
    with Run.open(data.folder / "run").locked():
        told = data.run("train", "--resume", "run", "--on-verifier-error", "skip", code=2).stderr
    assert "is being trained by another process" in told
    assert (data.folder / "lab" / "config.json").read_bytes() == before


def test_gym_trains(data):
    data.run(*options("--dataset", "gym:leg_counting,gcd", "--steps", "1", "--out", "run"))
    assert json.loads((data.folder / "run" / "config.json").read_text())["data"] == {"tasks": ["leg_counting", "gcd"]}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--dataset", "./dapo"), "./dapo, row 1: no column 'problem'"),
        (
            ("--dataset", "./dapo", "--columns", "problem=prompt,answer=ability", "--verifier", "gsm8k"),
            "the verifier 'gsm8k' can read no answer in column 'ability'",
        ),
        (("--dataset", "./dapo", *DAPO, "--eval-problems", "99"), "lower --eval-problems"),
        (
            ("--dataset", "./dapo", *DAPO, "--probe-every", "2"),
            "--probe-every takes 256 held-out problems: leave it out",
        ),
        (("--dataset", "gym:countdown"), "has no task 'countdown'"),
        (("--dataset", "gym:gcd", "--verifier", "math"), "leave these options out"),
        (("--dataset", "./dapo", "--task", "path"), "--dataset takes the place of --task"),
        (("--dataset", "./dapo", "--model", ""), "needs --model"),
        (("--verifier", "math"), "--verifier math needs --dataset"),
        (("--dataset", "./dapo", *DAPO, "--max-completion", "0"), "--max-completion must be at least 1"),
        (("--dataset", "./dapo", *DAPO, "--drop-benchmarks", "nope"), "--drop-benchmarks: "),
    ],
)
def test_bad_data_is_told_before_anything_is_written(data, args, said):
    command = options(*args, "--out", "run")
    if args[0] == "--verifier":
        command = tuple(x for x in command if x not in ("--max-completion", "6"))
    told = data.run(*command, code=2).stderr
    assert said in told and len(told.strip().splitlines()) == 1
    assert not (data.folder / "run").exists()


def source_of(data, **changes):
    write_gsm8k(data.folder / "gsm8k")
    chosen = {"dataset": "./gsm8k", "columns": "problem=question", "verifier": "gsm8k", **changes}
    config = TrainConfig(model="model", **chosen)
    return make_source(config, load_tokenizer(config))


def test_problems_are_drawn_like_a_tasks(data):
    source = source_of(data)
    assert source.problems(5, split="train", seed=3) == source.problems(60, split="train", seed=3)[:5]
    assert len({problem.key for problem in source.problems(40, split="train", seed=3)}) == 40
    held_out = {problem.key for problem in source.problems(12, split="test", seed=0)}
    assert not held_out & {problem.key for problem in source.problems(40, split="train", seed=0)}
    problem = source.problems(1, split="train", seed=0)[0]
    assert problem.prompt.startswith("<|im_start|>user\nAda has")
    assert problem.prompt.endswith('output the final answer after "####".<|im_end|>\n<|im_start|>assistant\n')
    answer = next(a + b for text, a, b in sums(52) if text in problem.prompt)
    assert source.judge([problem] * 2, [f"#### {answer}", f"{answer}"]) == [1.0, 0.0]


@pytest.mark.parametrize("told", ["stop", "skip"])
def test_a_completion_that_hangs_the_verifier_is_never_a_zero(data, told, monkeypatch):
    monkeypatch.setattr("entrostat.lab.source.TIMEOUT", 1.0)
    source = source_of(data, verifier="math", dataset="./dapo", columns=DAPO[1], on_verifier_error=told)
    problem = source.problems(1, split="train", seed=0)[0]
    notes = []
    source.note = notes.append
    completions = ["\\boxed{9^{9^9}}", "\\boxed{-1}"]
    if told == "stop":
        with pytest.raises(RewardError, match=r"timed out after 1 s.*--on-verifier-error skip"):
            source.judge([problem] * 2, completions)
    else:
        assert source.judge([problem] * 2, completions) == [None, 0.0]
        assert len(notes) == 1 and "not scored (timed out after 1 s)" in notes[0]
        known, logged = {"key": [problem.key] * 2, "data": [problem.data] * 2}, {}
        reward = make_reward("true", source, 0)
        assert reward([problem.prompt] * 2, completions, **known, log_metric=logged.__setitem__) == [None, 0.0]
        assert logged == {"unscored": 0.5}
