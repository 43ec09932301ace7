"""What `entrostat doctor` says of a clip's reach: at each outcome, and where to look where its numbers are missing."""

import json

import pytest

from entrostat.cli import main
from entrostat.doctor import read, settings
from entrostat.doctor.reach import responses_of

TRL = "steps_per_generation: 4\nper_device_train_batch_size: 64\n"
VERL = ["data.train_batch_size=512", "actor_rollout_ref.rollout.n=8", "actor_rollout_ref.actor.ppo_mini_batch_size=32"]


@pytest.fixture
def doctor(capsys, tmp_path):
    """Runs it on TRL's file, or on other words; its JSON and, in one line, its text."""
    (tmp_path / "grpo.yaml").write_text(TRL)

    def run(*options, words=(str(tmp_path / "grpo.yaml"),)):
        main(["doctor", *words, *options, "--json"])
        said = json.loads(capsys.readouterr().out)["reach"]
        main(["doctor", *words, *options])
        return said, " ".join(capsys.readouterr().out.split())

    return run


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (("--clipped", "0.0002", "--kl", "0.04"), "Too little is clipped"),
        (("--clipped", "0.0002"), "Too little is clipped"),
        (("--clipped", "0.03", "--kl", "0.04"), "Noise moves entropy as much"),
        (("--clipped", "0.03", "--kl", "0.004"), "A clip setting can move entropy here"),
    ],
)
def test_with_the_log_s_numbers_it_is_said(doctor, options, start):
    said, text = doctor(*options)
    assert said["sentence"].startswith(start) and said["look_at"] is None and said["responses"] == 256
    assert said["sentence"] in text and "Look in" not in text


@pytest.mark.parametrize(
    ("options", "asked", "not_asked"),
    [
        ((), ("clip_ratio/low_mean", "the KL of a rollout", "--clipped SHARE --kl NATS"), ()),
        (("--clipped", "0.03"), ("the KL of a rollout", "give --kl NATS"), ("clip_ratio", "--clipped")),
        (("--kl", "0.004"), ("clip_ratio/high_mean", "give --clipped SHARE"), ("the KL of", "--kl")),
    ],
)
def test_without_them_it_says_where_to_look(doctor, options, asked, not_asked):
    said, text = doctor(*options)
    assert said["sentence"].startswith("Whether a clip setting can move entropy here is not known")
    assert said["sentence"] in text and said["look_at"] in text
    assert all(word in said["look_at"] for word in (*asked, "Responses per rollout", "--processes 1: 256"))
    assert not any(word in said["look_at"] for word in not_asked)


def test_verl_s_log_has_other_names(doctor):
    said, _ = doctor(words=VERL)
    assert said["responses"] == 4096
    assert all(
        word in said["look_at"] for word in ("actor/pg_clipfrac", "actor/ppo_kl", "by this configuration: 4,096")
    )
    said, _ = doctor("--clipped", "0.03", "--kl", "0.04", words=VERL)
    assert said["sentence"].startswith("A clip setting can move entropy here")


def test_with_one_update_nothing_is_clipped(doctor):
    said, _ = doctor(words=("learning_rate=1e-6",))
    assert said["clipped"] == 0 and said["sentence"].startswith("Too little is clipped") and said["look_at"] is None
    # the log knows better, and a strategy that acts on fresh tokens clips
    assert doctor("--clipped", "0.03", words=("learning_rate=1e-6",))[0]["clipped"] == 0.03
    assert doctor("--strategy", "thermostat", words=("learning_rate=1e-6",))[0]["clipped"] is None


@pytest.mark.parametrize(
    ("words", "processes", "responses"),
    [
        (["per_device_train_batch_size=8", "steps_per_generation=4"], 2, 64),
        (["per_device_train_batch_size=8", "gradient_accumulation_steps=3"], 1, 24),
        (["generation_batch_size=96"], 4, 96),
        (["data.train_batch_size=128"], 1, 128),
    ],
)
def test_responses_of_a_configuration(words, processes, responses):
    assert responses_of(settings(read(words)), processes) == responses


@pytest.mark.parametrize(("option", "value"), [("--clipped", "3"), ("--kl", "-1"), ("--kl", "nan")])
def test_a_number_that_cannot_be_is_one_line(capsys, option, value):
    assert main(["doctor", "learning_rate=1e-6", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and option.removeprefix("--") in err
