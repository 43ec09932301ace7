"""The smallest claim that trains, as its user runs it: real runs, fast, from the command to the verdict."""

import json

import pytest

from entrostat.cli import main


@pytest.mark.slow
def test_a3_measures_both_brackets_along_real_runs(tmp_path, capsys):
    assert main(["reproduce", "a3", "--fast", "--json", "--out", str(tmp_path)]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["claim"], result["verdict"]) == ("a3", "undecided")
    # inequality 7 holds at the base model with room to spare, so few rollouts show its sign
    assert result["numbers"]["parts whose mean is where it is wanted"] == "4 of 4"
    assert json.loads((tmp_path / "a3.fast.json").read_text()) == result
    commands = [json.loads(line)["command"] for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert sorted(commands) == sorted(result["runs"])
