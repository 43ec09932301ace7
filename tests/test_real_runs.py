"""docs/real-runs.md as its reader runs it, and the recipes that it speaks of."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.doctor import findings, read, settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "real-runs.md").read_text(encoding="utf-8")
TRL = sorted((ROOT / "recipes" / "trl").glob("*.toml"))
VERL = sorted((ROOT / "recipes" / "verl").glob("*.yaml"))
SOURCE = re.compile(r"# (paper|ours|second-hand|off|verl's|of )")


def commands(heading):
    """The indented lines of a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


@pytest.mark.slow
def test_the_toy_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    install, *lines = commands("Without a GPU")
    assert install.startswith("pip install")
    assert len(lines) >= 8
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = {}
    for line in lines:
        program, *words = line.split()
        if program == "entrostat":
            # in this process: the trainer's imports take longer than most of these commands
            returned = main(words)
            out, err = capsys.readouterr()
        else:
            done = subprocess.run(line.split(), env=env, capture_output=True, text=True)
            returned, out, err = done.returncode, done.stdout, done.stderr
        assert returned == 0, f"{line}\n{err[-3000:]}"
        said[line] = out
    for name in ("lower", "plain"):
        summary = json.loads((tmp_path / "runs" / name / "summary.json").read_text())
        assert summary["start"] == {}
        assert len((tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()) == 2
    assert "<html" in (tmp_path / "runs" / "report.html").read_text()[:1000]
    assert any("mean@4" in text for text in said.values())


def test_the_page_asks_eight_gpus_for_the_same_steps():
    """Each toy command has its counterpart: the same words, options aside."""
    steps = {"train", "evaluate", "report", "--dry-run", "grpo"}
    big, toy = (
        {" ".join(word for word in line.split() if word in steps) for line in commands(heading)}
        for heading in ("With eight GPUs of 80 GB", "Without a GPU")
    )
    assert big == toy
    for name in re.findall(r"recipes/[\w./-]+\w", PAGE):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", [*TRL, *VERL], ids=lambda path: path.name)
def test_every_value_has_its_source(path):
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^# arXiv (2509\.26114|2602\.09782): ", text)
    body = text.split("\n[train]" if path.suffix == ".toml" else "\ndata:")[1]
    free = (
        "_target_",
        "loss_mode",
        "val_files",
        "n_gpus_per_node",
        "nnodes",
        "project_name",
        "experiment_name",
        "name: bern",
    )
    for line in body.splitlines():
        key, _, value = line.partition("=" if path.suffix == ".toml" else ":")
        if (
            value.strip()
            and not key.strip().startswith(free)
            and "name: bernoulli" not in line
            and "trainer_mode" not in line
        ):
            assert SOURCE.search(line), line
    assert all(len(line) <= 120 for line in text.splitlines())


def test_there_is_a_recipe_for_each_published_run_and_trainer():
    assert [path.stem for path in TRL] == [path.stem for path in VERL]
    assert len(TRL) == 12


@pytest.mark.parametrize("path", TRL, ids=lambda path: path.stem)
def test_a_recipe_passes_its_dry_run_without_a_hub(path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["train", "--config", str(path), "--dry-run", "--json"]) == 0
    result = json.loads(out.getvalue())
    assert result["findings"] == []
    assert {line.split(":")[0] for line in result["unchecked"]} <= {"tokenizer, chat template", "prompts", "GRPOConfig"}
    train = tomllib.loads(path.read_text())["train"]
    geometry, estimate = result["geometry"], result["estimate"]
    assert geometry["completions"] == train["prompts"] * train["samples"]
    assert geometry["clipping_can_act"].startswith("yes")
    # the published batches
    expected = (4096, 256) if path.stem.startswith("2509") else (512, 64)
    assert (geometry["completions"], geometry["completions_per_update"]) == expected
    # eight devices of 80 GB hold it, and the page says how well
    need = estimate["bytes_per_device"]["total"]
    assert estimate["devices"] == 8 and estimate["sharded"] and need < 80e9
    assert f"; {estimate['completions_per_device_at_once']} sequences at once on each of 8 devices" in path.read_text()
    row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{path.stem}`" in line)
    hours = [found["total"] for found in estimate["hours"].values()]
    assert [cell.strip() for cell in row.split("|")[2:5]] == [f"{x:.0f}" for x in (need / 1e9, *hours)]


@pytest.mark.parametrize("path", VERL, ids=lambda path: path.stem)
def test_the_doctor_finds_nothing_in_a_recipe_for_verl(path):
    assert findings(settings(read([str(path)]))) == []


@pytest.mark.parametrize("path", TRL, ids=lambda path: path.stem)
def test_both_trainers_are_given_the_same_run(path):
    ours = tomllib.loads(path.read_text())
    theirs = dict(read([str(ROOT / "recipes" / "verl" / f"{path.stem}.yaml")]).fields)
    actor, rollout = (theirs["actor_rollout_ref"][part] for part in ("actor", "rollout"))
    train, method = ours["train"], dict(ours["method"])
    assert actor["policy_loss"]["strategy"] == method.pop("name")
    assert actor["policy_loss"]["options"] == method
    assert theirs["actor_rollout_ref"]["model"]["path"] == train["model"]
    assert theirs["data"]["train_batch_size"] == train["prompts"]
    assert theirs["data"]["train_batch_size"] == actor["ppo_mini_batch_size"] * train["updates_per_rollout"]
    assert theirs["data"]["max_response_length"] == train["max_completion"]
    assert (rollout["n"], rollout["temperature"]) == (train["samples"], train["temperature"])
    assert actor["optim"]["lr"] == train["learning_rate"]
    assert theirs["trainer"]["total_training_steps"] == train["steps"]
    assert theirs["algorithm"]["norm_adv_by_std_in_grpo"] == (train["scale_rewards"] == "group")
    assert ("reward" in theirs) == (train["reward"] == "bernoulli:0.5")
