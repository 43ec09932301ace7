"""What `entrostat doctor` prints, and that its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.doctor import Finding
from entrostat.doctor.finding import PAGE
from entrostat.trainers import TRL_LOSSES, VERL_LOSSES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def doctor(capsys):
    def run(*args):
        code = main(["doctor", *args])
        out, err = capsys.readouterr()
        assert err == ""
        return code, out

    return run


def test_json_is_one_object(doctor):
    code, out = doctor("epsilon=0.3", "epsilon_high=.inf", "delta=2", "loss_type=dapo", "--json")
    result = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert code == 1
    assert {k: result[k] for k in ("config", "trainer")} == {"config": "command line", "trainer": "trl"}
    found = {one["finding"]: one for one in result["findings"]}
    assert set(found) == {"RATIO_ALWAYS_ONE", "DUAL_CLIP"}
    assert found["DUAL_CLIP"]["settings"] == {"delta": 2.0, "epsilon_high": "inf"}
    assert found["DUAL_CLIP"]["docs"] == "docs/doctor.md#dual-clip"
    assert found["DUAL_CLIP"]["instead"] == Finding.DUAL_CLIP.value.trl


def test_nothing_found_is_0_and_a_line(doctor):
    code, out = doctor("steps_per_generation=4")
    first, *_ = out.splitlines()
    assert code == 0 and re.fullmatch(r"command line, read as TRL [\d.]+: nothing found", first)


def test_what_was_not_judged_stands_beside_nothing_found(doctor, tmp_path):
    script = tmp_path / "run.sh"
    words = "data.train_batch_size=256 actor_rollout_ref.actor.ppo_mini_batch_size=$UNKNOWN"
    script.write_text(f"python -m verl.trainer.main_ppo {words}\n")
    code, out = doctor(str(script))
    assert code == 0
    assert "nothing found; not all was judged, see the notes" in " ".join(out.split())


def test_a_trainer_of_verls_is_known_by_its_module(doctor, tmp_path):
    """Few settings, and none of the actor's."""
    script = tmp_path / "run.sh"
    script.write_text("python3 -m verl.trainer.main_ppo data.train_batch_size=256\n")
    code, out = doctor(str(script))
    assert code == 1 and "read as verl" in out and "ratio always 1" in out
    script.write_text("python3 -m verl.trainer.main_generation data.path=x\n")
    assert main(["doctor", str(script)]) == 2


def test_the_table_says_what_why_and_what_instead(doctor):
    code, out = doctor("actor_rollout_ref.actor.clip_ratio=0.3")
    said = " ".join(re.sub(r"[│─┌┐└┘├┤┬┴┼]", " ", out).split())
    advice = Finding.CLIP_RATIO_ALONE.value
    assert code == 1
    for text in ("clip_ratio 0.3 is set, the window is 1 - 0.2 to 1 + 0.2", advice.why, advice.verl, PAGE):
        assert text in said


def test_strategy_and_processes(doctor):
    assert doctor("learning_rate=1e-6")[0] == 1
    assert doctor("learning_rate=1e-6", "--strategy", "thermostat")[0] == 0
    assert doctor("generation_batch_size=16", "--processes", "1")[0] == 0
    assert doctor("generation_batch_size=16", "--processes", "2")[0] == 1


@pytest.mark.parametrize("finding", Finding)
def test_every_finding_has_its_section(finding):
    parts = (ROOT / PAGE).read_text().split("\n## ")[1:]
    # as GitHub makes anchors
    sections = {re.sub(r"[^\w\- ]", "", part.split("\n")[0].lower()).replace(" ", "-"): part for part in parts}
    section = sections[finding.link.partition("#")[2]]
    assert all(word in section for word in ("**Symptom.**", "**Cause.**", "**Cure.**"))
    assert finding.value.trl or finding.value.verl or finding.value.other


def test_the_page_names_every_loss():
    trl, verl = (ROOT / PAGE).read_text().split("| verl `policy_loss.loss_mode` | reads |")
    for table, losses in ((trl, TRL_LOSSES), (verl, VERL_LOSSES)):
        named = {name.strip() for first in re.findall(r"^\| ([\w, ]+) \|", table, re.M) for name in first.split(",")}
        assert set(losses) <= named
