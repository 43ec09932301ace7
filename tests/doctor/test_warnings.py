"""`entrostat train` says at its start what the doctor finds, once, and nothing under the lab's own defaults."""

import pytest

from entrostat.cli import main
from entrostat.doctor import Finding
from entrostat.lab.checkup import checkup
from entrostat.lab.config import TrainConfig
from entrostat.lab.methods import METHODS, make_method


@pytest.mark.parametrize("name", METHODS)
def test_no_method_has_a_finding_under_the_labs_defaults(name):
    assert checkup(TrainConfig(), make_method(name)) == []


@pytest.mark.parametrize(
    ("name", "config", "finding"),
    [
        ("trl:sapo", {"updates_per_rollout": 1}, Finding.RATIO_ALWAYS_ONE),
        ("grpo", {"temperature": 0.7}, Finding.TEMPERATURE),
    ],
)
def test_what_the_doctor_finds(name, config, finding):
    assert [f.finding for f in checkup(TrainConfig(**config), make_method(name))] == [finding]


@pytest.mark.parametrize("name", ["thermostat", "objective:entropic"])
def test_what_acts_at_one_update_is_no_finding(name):
    assert checkup(TrainConfig(updates_per_rollout=1), make_method(name)) == []


def test_a_warning_is_one_line_on_stderr_and_the_run_goes_on(tmp_path, capsys):
    small = ["--steps", "1", "--prompts", "2", "--samples", "2", "--updates-per-rollout", "1", "--threads", "1"]
    scored = ["--eval-problems", "2", "--eval-samples", "2", "--temperature", "0.7", "--out", str(tmp_path / "run")]
    assert main(["train", *small, *scored, "trl:cispo"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("entrostat: warning")]
    assert lines == [
        "entrostat: warning: trl:cispo: ratio always 1: one update per rollout (steps_per_generation 1, num_iterations "
        "1, gradient_accumulation_steps 1) (docs/doctor.md#ratio-always-1)",
        "entrostat: warning: trl:cispo: temperature: at 0.7 the logged entropy is the tempered sampler's, not the "
        "model's (docs/doctor.md#temperature)",
    ]
