"""Bad input: one line on stderr that says what to do, exit code 2, nothing written or overwritten."""

import dataclasses
import json
import shutil

import pytest

import entrostat
from entrostat.cli import COMMANDS, main
from entrostat.lab.tasks import make_task
from entrostat.reproduce import CLAIMS
from entrostat.reproduce.claims.a2 import theorem_2
from entrostat.reproduce.first_order import check
from entrostat.reproduce.tabular import policy_gradient


def refused(capsys, *args):
    assert main([str(a) for a in args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("entrostat: ")
    return lines[0]


def test_an_error_sends_nothing_to_the_terminal_that_it_would_act_on(capsys, tmp_path):
    line = refused(capsys, "train", "--resume", tmp_path / "a\x1b]0;title\x07\u202eb")
    assert line.isprintable()
    assert r"a\x1b]0;title\x07\u202eb" in line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tran"], "unknown command 'tran': did you mean train"),
        (["train", "cliplower"], "unknown method 'cliplower': did you mean clip-lower"),
        (["train", "--stps", "3"], "unknown option '--stps': did you mean --steps"),
        (["train", "clip-lower", "--lo", "0.1"], "unknown option '--lo': did you mean --low"),
        (["train", "thermostat", "--target", "0"], "entrostat: target must stay over 0 nats, got '0'"),
        (["train", "thermostat", "--target", "warm"], "entrostat: a schedule is a number, linear:A:B"),
        (["train", "thermostat", "--target", "linear:1x:0.3"], "an x behind every entropy means"),
        (["train", "thermostat", "--targt", "0.3"], "unknown option '--targt': did you mean --target"),
        (["train", "clip-lower", "--low", "much"], "entrostat: --low must be a number, got 'much'"),
        (["train", "--steps", "many", "grpo"], "entrostat: --steps must be a whole number, got 'many'"),
        (["train", "--temperatures", "warm", "grpo"], "entrostat: --temperatures must be a number, got 'warm'"),
        (["train", "grpo", "--low", "-0.1"], "low must be at least 0"),
        (["train", "grpo", "clip-lower"], "'clip-lower'"),
        (["train", "--steps", "0", "grpo"], "--steps must be at least 1, got 0"),
        (["train", "--steps", "-3"], "--steps must be at least 1, got -3"),
        (["train", "--steps", "9", "--eval-at", "9", "10", "grpo"], "--eval-at 10 never comes: --steps is 9"),
        (["train", "--samples", "1", "grpo"], "--samples must be at least 2, got 1"),
        (["train", "--learning-rate", "0", "grpo"], "--learning-rate must be over 0, got 0.0"),
        (["train", "--learning-rate", "nan", "grpo"], "--learning-rate must be over 0, got nan"),
        (["train", "--updates-per-rollout", "7", "grpo"], "--updates-per-rollout 7 must divide the 512 completions"),
        (["train", "--task", "countdwn", "grpo"], "unknown task 'countdwn': did you mean countdown"),
        (["train", "--reward", "bernoulli:2", "grpo"], "--reward is 'bernoulli:2': use true, normal, or bernoulli:P"),
        (["train", "--loss-type", "sapo", "grpo"], "--loss-type"),
        (["train", "trl:sap"], "unknown method 'trl:sap': did you mean trl:sapo"),
        (["train", "trl:cispo", "--epsilon", "2"], "unknown option '--epsilon': did you mean --epsilon-high"),
        (["train", "--model", "/no/such/folder", "--out", "x", "grpo"], "--model '/no/such/folder': there is no"),
        (["train", "--resume", "nowhere"], "nowhere holds no run"),
        (["train", "--resume", "nowhere", "grpo"], "--resume takes no other option"),
        (["train", "--resume", "nowhere", "--steps", "3"], "--resume takes no other option"),
        (["report"], "no run given"),
        (["report", "nowhere"], "nowhere"),
        (["evaluate"], "entrostat: MODEL is missing: A model's folder"),
        (["evaluate", "/no/such/folder"], "MODEL '/no/such/folder': there is no such folder"),
        (["evaluate", str(make_task("countdown").base_model), "--samples", "0"], "entrostat: --samples must be"),
        (["pretrain", "--task", "countdown"], "entrostat: --out is missing: Folder to write the model to"),
        (["train", "--seed"], "entrostat: --seed needs a value"),
        (["report", "--x", "step", "run"], "entrostat: --x can't be 'step': did you mean steps"),
        (["reproduce", "--seeds", "x"], "entrostat: --seeds must be a whole number, got 'x'"),
        (["train", "dynamic", "--upper-dynamic"], "--upper-dynamic is on already; --no-upper-dynamic switches it off"),
        (["reproduce", "a11"], "unknown claim 'a11': did you mean a1"),
        (["reproduce", "--all", "a1"], "give one or the other"),
        (["reproduce", "a1", "--seeds", "1"], "--seeds must be at least 2, got 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *args)


def test_on_policy_is_refused_with_the_option_that_cures_it(capsys, tmp_path):
    line = refused(capsys, "train", "--updates-per-rollout", "1", "--out", tmp_path / "run", "grpo")
    assert "cannot act" in line
    assert "--updates-per-rollout" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("args", [["grpo"], []], ids=["one", "demo"])
def test_a_folder_that_holds_something_is_left_alone(capsys, tmp_path, args):
    kept = tmp_path / "run" / "thesis.tex"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert "is not empty" in refused(capsys, "train", "--out", tmp_path / "run", *args)
    assert kept.read_text() == "mine"
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "thesis.tex"]


def test_a_model_without_tokenizer_is_told_before_anything_is_written(capsys, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(make_task("countdown").base_model, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).unlink()
    line = refused(capsys, "train", "--model", model, "--out", tmp_path / "run", "grpo")
    assert "no tokenizer in" in line
    assert not (tmp_path / "run").exists()


def test_a_damaged_run_is_refused_by_name(capsys, tmp_path):
    small = ["--steps", "1", "--prompts", "2", "--samples", "2", "--updates-per-rollout", "2"]
    assert (
        main(["train", *small, "--eval-problems", "2", "--eval-samples", "2", "--out", str(tmp_path / "r"), "grpo"])
        == 0
    )
    capsys.readouterr()
    (tmp_path / "r" / "summary.json").unlink()
    state = tmp_path / "r" / "state.json"
    whole = state.read_text()
    for damage, said in (
        (whole[:50], "not a whole state file"),
        (whole.replace('"rollouts": 1', '"rollouts": 0'), "edited or damaged"),
    ):
        state.write_text(damage)
        assert said in (line := refused(capsys, "train", "--resume", tmp_path / "r"))
        assert str(state) in line
    state.write_text(whole)
    (tmp_path / "r" / "config.json").write_text("{}")
    assert "config.json" in refused(capsys, "train", "--resume", tmp_path / "r")


def test_several_processes_are_refused(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for command in (["train"], ["compare", "grpo"], ["reproduce", "a1"]):
        assert "one process" in refused(capsys, *command)


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == entrostat.__version__
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    "args",
    [
        *(["train"], ["train", "clip-lower"], ["train", "trl:gspo"], ["train", "objective:entropic"]),
        *(["compare"], ["evaluate"], ["report"], ["reproduce"], ["pretrain"]),
    ],
)
def test_each_command_explains_its_options(capsys, args):
    with pytest.raises(SystemExit) as stop:
        main([*args, "--help"])
    assert stop.value.code == 0
    assert "usage: entrostat" in capsys.readouterr().out


def test_json_is_one_object_on_stdout(capsys):
    model = make_task("countdown").base_model
    assert main(["evaluate", str(model), "--problems", "2", "--samples", "2", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores.keys() >= {"mean@2", "pass@2", "pass@k", "entropy", "correct"}


def test_reproduce_lists_and_checks_claims(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert "theorem 1" in out and "2509.26114" in out
    assert main(["reproduce", "--json"]) == 0
    assert [claim["claim"] for claim in json.loads(capsys.readouterr().out)] == list(CLAIMS)
    assert main(["reproduce", "a1", "--seeds", "5"]) == 0
    assert "holds" in capsys.readouterr().out
    wrong = dataclasses.replace(CLAIMS["a2"], judge=lambda mode, _: check(theorem_2, policy_gradient, mode))
    monkeypatch.setitem(CLAIMS, "a2", wrong)
    assert main(["reproduce", "a1", "a2", "--seeds", "5", "--json"]) == 1
    assert [claim["verdict"] for claim in json.loads(capsys.readouterr().out)] == ["holds", "fails"]
