"""Scores at several temperatures: against a sampler whose right answers are laid down, and through the real command."""

import json
from statistics import fmean

import numpy as np
import pytest

import reference
from entrostat.estimate import hierarchical_interval
from entrostat.lab.config import TrainConfig, config_from_json
from entrostat.lab.evaluate import Samples, at_best, evaluate_with, held_out, spelt, to_choose, validation
from entrostat.lab.tasks import Problem, ProblemSource, make_task


class Numbered(ProblemSource):
    """Problems are numbers: of `train` 0 to 99, of `test` 100 to 199. The seed says where a draw begins."""

    name = "numbered"
    max_completion = 1

    def problems(self, n, *, split, seed):
        first = 0 if split == "train" else 100
        numbers = [first + (seed + i) % 100 for i in range(n)]
        return [Problem(f"{split} {number}", str(number), {}) for number in numbers]

    def score(self, problem, completion):
        return float(completion == "right")


class Sampler:
    """Of each prompt the first `right[split][temperature]` of eight are right; more samples repeat the eight."""

    def __init__(self, right):
        self.right, self.asked = right, []

    def __call__(self, prompts, samples, temperature, seed):
        self.asked.append((prompts, samples, temperature, seed))
        texts = []
        for prompt in prompts:
            right = self.right[prompt.split()[0]][temperature]
            texts += ["right" if i % 8 < right else "wrong" for i in range(samples)]
        return Samples(texts, entropy=temperature / 2)


TASK = Numbered()


def test_each_temperature_has_the_scores_of_its_own_samples():
    draw = Sampler({"test": {1.0: 2, 0.6: 3, 0.2: 1}, "train": {1.0: 5, 0.6: 6, 0.2: 4}})
    found = evaluate_with(draw, TASK, problems=5, samples=16, temperatures=(0.2, 0.6))
    assert list(found["by_temperature"]) == ["1", "0.6", "0.2"]
    for temperature, right in ((1.0, 2), (0.6, 3), (0.2, 1)):
        one = found["by_temperature"][spelt(temperature)]
        assert one["correct"] == [2 * right] * 5
        assert one["mean@16"]["value"] == pytest.approx(right / 8)
        assert one["entropy"] == temperature / 2
        for k, interval in one["pass@k"].items():
            assert interval["value"] == pytest.approx(float(reference.pass_at_k(16, 2 * right, int(k))))
    assert found["validation"] == {"1": 5 / 8, "0.6": 6 / 8, "0.2": 4 / 8}
    assert found["best_temperature"] == 0.6
    assert at_best(found) == found["by_temperature"]["0.6"]
    # what it says of the training temperature is what it says without any other
    alone = evaluate_with(Sampler(draw.right), TASK, problems=5, samples=16)
    assert found["by_temperature"]["1"] == alone
    assert {key: found[key] for key in alone} == alone
    assert json.loads(json.dumps(found)) == found


def test_the_best_is_chosen_on_validation_problems_where_the_scored_ones_say_otherwise():
    draw = Sampler({"test": {1.0: 7, 0.6: 1, 0.2: 4}, "train": {1.0: 2, 0.6: 6, 0.2: 3}})
    found = evaluate_with(draw, TASK, problems=4, samples=8, temperatures=(0.6, 0.2))
    assert found["best_temperature"] == 0.6
    assert at_best(found)["mean@8"]["value"] == 1 / 8
    draw = Sampler({"test": {1.0: 7, 0.6: 1, 0.2: 4}, "train": {1.0: 2, 0.6: 1, 0.2: 3}})
    assert evaluate_with(draw, TASK, problems=4, samples=8, temperatures=(0.6, 0.2))["best_temperature"] == 0.2


@pytest.mark.parametrize("temperatures", [(0.6, 0.2), (0.2, 0.6)])
def test_of_equal_temperatures_the_higher_is_taken(temperatures):
    draw = Sampler({"test": {1.0: 1, 0.6: 2, 0.2: 8}, "train": {1.0: 3, 0.6: 5, 0.2: 5}})
    found = evaluate_with(draw, TASK, problems=4, samples=8, temperatures=temperatures)
    assert found["best_temperature"] == 0.6


def test_temperatures_are_chosen_on_as_many_problems_with_fewer_samples_and_none_of_them_is_scored():
    draw = Sampler({split: {1.0: 1, 0.5: 2} for split in ("test", "train")})
    for split in ("test", "validation"):
        draw.asked = []
        found = evaluate_with(draw, TASK, problems=6, samples=32, split=split, temperatures=(0.5,))
        assert found["validation_samples"] == 8
        scored = [asked for asked in draw.asked if asked[1] == 32]
        chosen = [asked for asked in draw.asked if asked[1] == 8]
        assert [asked[2] for asked in scored] == [asked[2] for asked in chosen] == [1.0, 0.5]
        assert len({tuple(prompts) for prompts, *_ in scored}) == len({tuple(prompts) for prompts, *_ in chosen}) == 1
        assert len(chosen[0][0]) == 6
        assert not {*chosen[0][0]} & {*scored[0][0]}
        assert all(prompt.startswith("train") for prompt in chosen[0][0])
    # never more than the scores themselves take
    assert evaluate_with(draw, TASK, problems=6, samples=2, temperatures=(0.5,))["validation_samples"] == 2


@pytest.mark.parametrize("name", ["countdown", "path"])
def test_problems_to_choose_on_are_of_the_training_split_and_apart(name):
    task = make_task(name)
    held = {problem.key for problem in held_out(task, 128)}
    assert to_choose(task, 128, "test") == validation(task, 128)
    assert not held & {problem.key for problem in validation(task, 128)}
    scored = {problem.key for problem in validation(task, 128)}
    apart = to_choose(task, 128, "validation")
    assert len(apart) == 128
    assert not scored & {problem.key for problem in apart}


def test_a_small_pool_leaves_what_is_not_scored_or_an_error():
    assert len(to_choose(TASK, 80, "validation")) == 20
    with pytest.raises(ValueError, match="numbered has no problem left to choose a temperature on"):
        to_choose(TASK, 100, "validation")


@pytest.mark.parametrize("temperatures", [(), (1.0,)])
def test_the_training_temperature_alone_is_a_plain_record(temperatures):
    draw = Sampler({"test": {1.0: 2}})
    found = evaluate_with(draw, TASK, problems=3, samples=8, temperatures=temperatures)
    assert set(found) == {"mean@8", "pass@8", "pass@k", "entropy", "correct", "samples"}
    assert at_best(found) is found
    assert len(draw.asked) == 1


def test_the_options_go_to_json_and_back():
    config = TrainConfig(temperatures=(1.0, 0.6, 0.2))
    record = json.loads(json.dumps(config.__dict__))
    assert config_from_json(record) == config
    del record["temperatures"]
    with pytest.raises(KeyError, match="temperatures"):
        config_from_json(record)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperatures": (0.5, 0.0)}, "--temperatures must be over 0 and finite, got 0.0"),
        ({"temperatures": (float("inf"),)}, "--temperatures must be over 0 and finite, got inf"),
        ({"temperatures": (float("nan"),)}, "--temperatures must be over 0 and finite, got nan"),
        ({"temperatures": (0.5, 1.0, 0.5)}, "--temperatures names 0.5 twice"),
        ({"temperatures": (1.0,)}, "--temperatures 1.0 is --temperature itself: name another"),
        ({"temperatures": (0.5,), "eval_problems": 0}, "--temperatures scores nothing with --eval-problems 0"),
    ],
)
def test_temperatures_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig(**options)


def test_a_run_takes_all_its_scores_at_them_and_moves_nothing_in_it(command):
    command.run("train", *command.small, "--out", "plain", "grpo")
    given = ("--temperatures", "0.5", "0.1", "--eval-at", "2")
    command.run("train", *command.small, *given, "--out", "run", "grpo")
    for name in ("metrics.jsonl", "checkpoint/model.safetensors"):
        assert command.bytes("run", name) == command.bytes("plain", name)
    for when in ("start", "2", "end"):
        scores = json.loads((command.folder / "run" / f"scores-{when}.json").read_text())
        assert list(scores["by_temperature"]) == list(scores["validation"]) == ["1", "0.5", "0.1"]
        if when != "2":
            plain = json.loads((command.folder / "plain" / f"scores-{when}.json").read_text())
            assert {key: scores[key] for key in plain} == plain == scores["by_temperature"]["1"]
        # a temperature of its own is what a run at that temperature scores
        assert scores["by_temperature"]["0.1"]["entropy"] < scores["by_temperature"]["1"]["entropy"]
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    assert summary["by_temperature"] == scores["by_temperature"]
    assert summary["best_temperature"] == scores["best_temperature"]
    assert summary["start"]["validation"].keys() == {"1", "0.5", "0.1"}


def test_a_run_that_goes_on_keeps_the_scores_it_has(command):
    given = ("--temperatures", "0.3")
    command.run("train", *command.small, *given, "--out", "run", "grpo")
    start = command.folder / "run" / "scores-start.json"
    scores = json.loads(start.read_text())
    scores["by_temperature"]["0.3"]["entropy"] = 123.0  # scored again, it would be another number
    start.write_text(json.dumps(scores))
    (command.folder / "run" / "summary.json").unlink()
    (command.folder / "run" / "scores-end.json").unlink()
    command.run("train", "--resume", "run")
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    assert summary["start"]["by_temperature"]["0.3"]["entropy"] == 123.0
    assert json.loads((command.folder / "run" / "scores-end.json").read_text())["by_temperature"]["0.3"]["correct"]


def made_up(right):
    """A record at three temperatures on two problems of four samples: {temperature: (validation, right samples)}."""
    by_temperature = {key: {"correct": list(counts)} for key, (_, counts) in right.items()}
    return {"validation": {key: mean for key, (mean, _) in right.items()}, "by_temperature": by_temperature}


@pytest.mark.slow
def test_a_comparison_scores_all_seeds_of_a_method_at_its_best_temperature(command):
    words = ("grpo", "clip-lower --low 0.02")
    tiny = ("--steps", "2", "--prompts", "2", "--samples", "2", "--updates-per-rollout", "2", "--map-every", "0")
    scored = ("--eval-problems", "2", "--eval-samples", "4", "--temperatures", "0.5", "0.2")
    command.run("compare", *words, "--seeds", "2", *tiny, *scored, "--out", "c", "--json")
    # each seed of grpo alone would choose another temperature than both together, and so would the scored problems
    laid = {
        "1-grpo-seed0": {"1": (0.9, (4, 4)), "0.5": (0.7, (1, 2)), "0.2": (0.1, (4, 4))},
        "1-grpo-seed1": {"1": (0.1, (4, 4)), "0.5": (0.7, (0, 3)), "0.2": (0.8, (4, 4))},
        "2-clip-lower-seed0": {"1": (0.1, (0, 0)), "0.5": (0.3, (4, 4)), "0.2": (0.6, (1, 0))},
        "2-clip-lower-seed1": {"1": (0.8, (0, 4)), "0.5": (0.3, (4, 4)), "0.2": (0.3, (4, 4))},
    }
    summaries = {}
    for name, right in laid.items():
        path = command.folder / "c" / name / "summary.json"
        summaries[name] = json.loads(path.read_text()) | made_up(right)
        path.write_text(json.dumps(summaries[name]))
    found = json.loads(command.run("compare", "--resume", "c", "--json").stdout)
    # of equal ones (clip-lower: .9 at 1 and at .2) the higher
    for row, temperature, key in zip(found["rows"], (0.5, 1.0), ("0.5", "1"), strict=True):
        best = row["at_best"]
        assert best["temperature"] == temperature
        names = [folder.removeprefix("c/") for folder in row["runs"]]
        right = np.array([laid[name][key][1] for name in names])
        mean = hierarchical_interval(right / 4)
        passed = hierarchical_interval((right > 0).astype(float))
        for cell, interval in ((best["mean@4"], mean), (best["pass@4"], passed)):
            assert (cell["value"], cell["low"], cell["high"]) == pytest.approx(tuple(interval))
        assert row["mean@4"]["value"] == pytest.approx(fmean(fmean(summaries[name]["correct"]) / 4 for name in names))
    start = summaries["1-grpo-seed0"]["start"]
    chosen = start["by_temperature"][spelt(start["best_temperature"])]
    assert found["base"]["at_best"]["temperature"] == start["best_temperature"]
    for name in ("mean@4", "pass@4"):
        assert found["base"][name] == start[name]
        assert found["base"]["at_best"][name] == chosen[name]
    shown = command.run("compare", "--resume", "c").stdout
    lines = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    at = [f"at its best temperature ({spelt(each)})" for each in (start["best_temperature"], 0.5, 1.0)]
    assert lines == ["base model", at[0], "grpo", at[1], "clip-lower low 0.02", at[2]]


@pytest.mark.slow
def test_a_setting_is_chosen_at_each_run_s_best_temperature(command):
    tiny = ("--steps", "1", "--prompts", "2", "--samples", "2", "--updates-per-rollout", "2", "--map-every", "0")
    scored = ("--eval-problems", "4", "--eval-samples", "4", "--temperatures", "0.2")
    done = command.run("compare", "trl:cispo", "--seeds", "1", *tiny, *scored, "--out", "c", "--json")
    choice = json.loads(done.stdout)["rows"][0]["choice"]
    scores = []
    for k in range(1, 4):
        each = []
        for seed in (1000, 1001):
            folder = command.folder / "c" / "choice" / f"1-trl-cispo-{k}-seed{seed}"
            summary = json.loads((folder / "summary.json").read_text())
            best = summary["by_temperature"][spelt(summary["best_temperature"])]
            each.append(best["mean@4"]["value"] + best["pass@4"]["value"])
        scores.append(fmean(each))
    assert choice["scores"] == pytest.approx(scores)
    assert choice["by"] == "mean@4 + pass@4 on validation problems, at the run's best temperature"


def test_the_tables_have_a_row_at_the_best_temperature(command):
    given = ("--temperatures", "0.5", "0.1")
    shown = command.run("train", *command.small, *given, "--out", "run", "grpo").stdout
    summary = json.loads((command.folder / "run" / "summary.json").read_text())
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[0] for row in rows] == [
        "base model",
        f"at its best temperature ({spelt(summary['start']['best_temperature'])})",
        "grpo",
        f"at its best temperature ({spelt(summary['best_temperature'])})",
    ]
    for row, record in ((rows[1], summary["start"]), (rows[3], summary)):
        best = record["by_temperature"][spelt(record["best_temperature"])]
        values = [best["entropy"], best["mean@4"]["value"], best["pass@4"]["value"]]
        assert [cell.split()[0] for cell in row[1:4]] == [f"{value:.3f}" for value in values]
    model = ("evaluate", "run/checkpoint", "--problems", "4", "--samples", "4", *given)
    scores = json.loads(command.run(*model, "--json").stdout)
    assert scores == json.loads((command.folder / "run" / "scores-end.json").read_text())
    shown = command.run(*model).stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[:2] for row in rows[-3:]] == [[t, f"{mean:.3f}"] for t, mean in scores["validation"].items()]


def test_benchmarks_have_no_validation_problems_to_choose_on(command):
    done = command.run("evaluate", "m", "--benchmark", "b.jsonl", "--temperatures", "0.5", code=2)
    assert "--temperatures goes without --benchmark" in done.stderr
