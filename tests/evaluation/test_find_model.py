"""Where a model is looked for: folders of runs, verl's shards, the hub that is not there."""

import json
import socket

import pytest

from entrostat.cli import main
from entrostat.data import hub
from entrostat.lab.find_model import find_model


@pytest.fixture
def no_hub(monkeypatch):
    """The network is refused, and each name that is asked for is kept."""
    from huggingface_hub import constants

    asked = []

    def refused(host, *args, **more):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    return asked


def model_in(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))


def test_a_runs_folder_is_its_checkpoint(tmp_path):
    run, trl, both = tmp_path / "run", tmp_path / "trl", tmp_path / "both"
    model_in(run / "checkpoint")
    (run / "config.json").write_text(json.dumps({"task": "countdown"}))  # as the lab's runs have
    for step in (9, 100, 20):
        model_in(trl / f"checkpoint-{step}")
    (trl / "checkpoint-200").mkdir()  # a save that was killed
    model_in(both)
    model_in(both / "checkpoint-5")
    assert find_model(str(run)) == (str(run / "checkpoint"), f"the model is the run's checkpoint {run / 'checkpoint'}")
    assert find_model(str(trl)).where == str(trl / "checkpoint-100")
    assert find_model(str(both)) == (str(both), "")


@pytest.mark.parametrize("at", ["", "global_step_20", "global_step_20/actor", "global_step_20/actor/huggingface"])
def test_verls_shards_name_the_merger(tmp_path, at):
    for step in (3, 20):
        actor = tmp_path / f"global_step_{step}" / "actor"
        model_in(actor / "huggingface")
        (actor / "model_world_size_2_rank_0.pt").write_bytes(b"")
    said = rf"python -m verl\.model_merger merge --backend fsdp --local_dir {tmp_path}/global_step_20/actor "
    with pytest.raises(ValueError, match=said):
        find_model(str(tmp_path / at))


def test_what_is_no_model_is_told_without_the_hub(tmp_path, no_hub):
    (tmp_path / "file").write_text("")
    for name, said in (
        ("nope", "'nope': there is no such folder, and a hub name is OWNER/NAME"),
        ("./nope", "there is no such folder"),
        (str(tmp_path / "file"), "it is a file"),
        (str(tmp_path), "the folder holds no model"),
    ):
        with pytest.raises(ValueError, match=said):
            find_model(name)
    assert no_hub == []


def test_a_hub_that_is_not_there_is_asked_once(no_hub, capsys):
    assert main(["evaluate", "org/nope"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "the hub can't be reached" in said and "'org/nope'" in said
    asked = len(no_hub)
    assert 0 < asked <= 2  # one request; a resolver may be asked for both kinds of address
    # the libraries don't ask from here on
    assert "switched off" in (hub.ask("org/other", "model") or "")
    assert main(["evaluate", "org/nope", "--benchmark", "aime24"]) == 2
    assert "no 'HuggingFaceH4/aime_2024' in the hub's cache" in capsys.readouterr().err
    assert len(no_hub) == asked


def test_a_tracker_that_is_missing_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.integration_utils.is_wandb_available", lambda: False)
    from entrostat.lab.trackers import check_trackers

    with pytest.raises(ValueError, match="--report-to wandb: WandbCallback requires wandb to be installed"):
        check_trackers(["wandb"])
    with pytest.raises(ValueError, match="--report-to wandbb: wandbb is not supported"):
        check_trackers(["wandbb"])
    check_trackers([])
