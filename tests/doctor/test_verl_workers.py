"""`entrostat doctor --verl`: what is wrong in a worker, and the environment without verl."""

import importlib.util

import pytest

from entrostat.cli import main
from entrostat.doctor.verl_workers import faults

GOOD = {
    "pid": 1,
    "python": "/usr/bin/python",
    "entrostat": "1.2",
    "verl": "0.9.1",
    "plugin": "entrostat.engines.verl.plugin",
    "registered": True,
    "error": None,
}


def test_workers_that_have_the_plug_in_have_no_fault():
    assert faults([GOOD, {**GOOD, "pid": 2}], "1.2") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entrostat": None}, "no entrostat plug-in"),
        ({"plugin": None}, "no entrostat plug-in"),
        ({"entrostat": "1.1"}, "entrostat 1.1, and 1.2 here"),
        ({"registered": False, "error": "ImportError: no torch"}, "does not load (ImportError: no torch)"),
        ({"registered": False}, "did not load the plug-in"),
    ],
)
def test_each_fault_names_its_worker_and_its_cure(changes, said):
    (found,) = faults([GOOD, {**GOOD, "pid": 2, **changes}], "1.2")
    assert found.startswith("worker 2: ")
    assert said in found
    assert "pip install 'entrostat[verl]==1.2'" in found or "verl 0.9.1" in found


@pytest.mark.skipif(importlib.util.find_spec("verl") is not None, reason="verl is installed")
def test_without_verl_it_is_one_line_and_exit_2(capsys):
    assert main(["doctor", "--verl"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "pip install 'entrostat[verl]'" in err


def test_it_reads_no_config(capsys):
    assert main(["doctor", "--verl", "grpo.yaml"]) == 2
    assert "run it by itself" in capsys.readouterr().err
